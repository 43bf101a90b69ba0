"""Plain requests to a local platform."""

import time

import requests

TERMINAL = {"completed", "failed", "timeout", "dead_letter", "cancelled"}


class Caller:
    """Sends plain requests with the platform's token."""

    def __init__(self, platform):
        self.platform = platform
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {platform.auth_token}"
        self.org = f"{platform.base_url}/api/v1/orgs/{platform.org_id}"
        self.workspace = f"{self.org}/workspaces/{platform.workspace_id}"
        self.inline = f"{platform.base_url}/api/v1/component-execution"

    def body(self, kind, data, **changes):
        field = "input_parameters" if kind == "code-blocks" else "input_data"
        body = {
            field: data,
            "config": {},
            "lifecycle_event": "workflow",
            "ring_id": self.platform.ring_id,
            "timeout_seconds": 60,
        }
        return {**body, **changes}

    def post(self, url, body=None, **headers):
        return self.session.post(url, json=body, headers=headers, timeout=60)

    def get(self, url, **headers):
        return self.session.get(url, headers=headers, timeout=60)

    def submit(self, kind, component_id, data=None, headers=None, **changes):
        url = f"{self.workspace}/{kind}/{component_id}/executions"
        return self.post(url, self.body(kind, data or {}, **changes), **(headers or {}))

    def record(self, execution_id, **headers):
        return self.get(f"{self.workspace}/executions/{execution_id}", **headers)

    def run(self, kind, component_id, data=None, **changes):
        answer = self.submit(kind, component_id, data, **changes)
        assert answer.status_code == 202, answer.text
        return self.end(answer.json()["execution_id"])

    def end(self, execution_id, seconds=30):
        return self.until(execution_id, TERMINAL, seconds)

    def until(self, execution_id, statuses, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            record = self.record(execution_id, Prefer="wait=5").json()
            if record["status"] in statuses:
                return record
        raise AssertionError(f"still {record['status']} after {seconds} s")
