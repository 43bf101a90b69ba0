"""The runner's process: `python -m flow_client.local.runner`, started by `LocalPlatform`."""

from flow_client.local.runner.runner import run
from flow_client.local.service import run_service

if __name__ == "__main__":
    run_service(run)
