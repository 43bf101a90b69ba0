"""`config show`: each setting's value and where it comes from."""

import pytest
from support.command_line import flow, json_lines

PROFILE = """
[default]
org_id = "org-p"
workspace_id = "ws-p"
ring_id = "ring-p"
timeout = 12.5
nats_url = "nats://user:canary@nats.example.com"
auth_token_file = "~/token"
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "flow-client" / "config.toml"
    file.parent.mkdir()
    file.write_text(PROFILE)
    return file


def shown(*options, **variables):
    """Return each setting with its value and origin; nothing secret is printed either way."""
    for json in ([], ["--json"]):
        done = flow("config", "show", *options, *json, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert "canary" not in done.stdout
    return {line["name"]: (line["value"], line["origin"]) for line in json_lines(done.stdout)}


def test_each_value_is_shown_with_where_it_comes_from(file):
    settings = shown("--org-id", "org-a", WORKSPACE_ID="ws-e", ORG_ID="org-e", NATS_CREDS="/creds")
    origin = f"profile 'default' in {file}"
    assert settings["profile"] == ("default", f"file {file}")
    assert settings["org_id"] == ("org-a", "argument")
    assert settings["workspace_id"] == ("ws-e", "variable WORKSPACE_ID")
    assert settings["ring_id"] == ("ring-p", origin)
    assert settings["timeout"] == (12.5, origin)
    assert settings["nats_url"] == ("nats://nats.example.com:4222", origin)
    assert settings["auth_token_file"] == ("~/token", origin)
    assert settings["base_url"] == (None, "not set")
    assert settings["NATS_CREDS"] == ("/creds", "variable NATS_CREDS")


def test_the_token_that_counts_is_named_and_none_is_shown(file):
    settings = shown(AUTH_TOKEN="canary")
    assert settings["auth_token"] == ("**********", "variable AUTH_TOKEN")
    assert settings["auth_token_file"] == (None, "not used: auth_token is set")
    settings = shown(AUTH_TOKEN_COMMAND="vault canary")
    assert settings["auth_token_command"] == ("vault …", "variable AUTH_TOKEN_COMMAND")
    assert shown(AUTH_TOKEN_COMMAND=" ")["auth_token_command"] == ("**********", "variable AUTH_TOKEN_COMMAND")


def test_a_secret_that_stands_where_its_file_should_is_masked(file):
    assert shown(AUTH_TOKEN_FILE="eyJcanary.b.c")["auth_token_file"] == ("**********", "variable AUTH_TOKEN_FILE")
    for variable, secret in [("NATS_NKEY_SEED", f"SU{'A' * 56}"), ("NATS_KEY", "-----BEGIN PRIVATE KEY-----\ncanary")]:
        assert shown(**{variable: secret})[variable] == ("**********", f"variable {variable}")


def test_a_base_url_with_a_password_is_masked(file):
    assert shown("--base-url", "https://user:canary@h")["base_url"] == ("**********", "argument")


def test_a_nats_url_that_cannot_be_read_is_masked_whole(file):
    assert shown(NATS_URL="http://canary")["nats_url"] == ("**********", "variable NATS_URL")
    assert shown(NATS_URL="nats://canary@h:x")["nats_url"] == ("**********", "variable NATS_URL")


def test_without_anything_it_shows_defaults():
    settings = shown()
    assert settings["timeout"] == (300, "default")
    assert settings["auth_token"] == (None, "not set")


def test_the_client_of_a_command_has_the_same_settings(file, http_server):
    file.write_text(PROFILE.replace('"~/token"', f'"{file.parent}/token"'))
    (file.parent / "token").write_text("t-f")
    (file.parent / "token").chmod(0o600)
    done = flow("status", "e-1", "--base-url", http_server.url, "--org-id", "org-a")
    assert (done.returncode, done.stderr) == (0, "")
    (request,) = http_server.received
    assert request.path.startswith("/api/v1/orgs/org-a/workspaces/ws-p/")
    assert request.headers["Authorization"] == "Bearer t-f"


def test_a_profile_that_does_not_exist_is_refused(file):
    done = flow("config", "show", "--profile", "prod")
    assert (done.returncode, done.stdout) == (78, "")
    assert "there is no profile 'prod'" in done.stderr
