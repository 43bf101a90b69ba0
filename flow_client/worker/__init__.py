"""Runs a function as an execution's worker: `python -m flow_client.worker package.module:handler`.

The settings come from the environment of the container: `EXECUTION_ID`, `DEPLOYMENT_ID`, `NATS_URL`, and, with
defaults, `FLOW_INPUT_TIMEOUT_SECONDS`, `FLOW_GRACE_SECONDS` and `FLOW_LOG_LEVEL`. With `--input JSON` the function is
called right here, without platform and NATS, and its events and output are printed. The exit code says how it ended:

| code | meaning |
|---|---|
| 0 | an output is stored, also if the handler failed or was cancelled; events that could not be stored are on stderr |
| 1 | with `--input`: the handler failed |
| 64 | the command line is wrong, or a setting is missing or not valid |
| 65 | the input is malformed |
| 69 | NATS cannot be reached, or no input arrived in time |
| 74 | the output could not be stored; the input stays in the work queue |
"""

from flow_client.worker._exits import (
    EXIT_FAILED,
    EXIT_MALFORMED_INPUT,
    EXIT_NO_INPUT,
    EXIT_NOT_STORED,
    EXIT_STORED,
    EXIT_USAGE,
)
from flow_client.worker._handlers import Result
from flow_client.worker._run import run
from flow_client.worker._task import Task

__all__ = [
    "EXIT_FAILED",
    "EXIT_MALFORMED_INPUT",
    "EXIT_NOT_STORED",
    "EXIT_NO_INPUT",
    "EXIT_STORED",
    "EXIT_USAGE",
    "Result",
    "Task",
    "run",
]
