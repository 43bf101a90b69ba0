"""The command `flow-client`, also as `python -m flow_client`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NOT_INSTALLED = 78


def main() -> int:
    """Run the command line and return the exit code; docs/cli.md lists them."""
    if find_spec("click") is None:
        sys.stderr.write("flow-client: the command line needs click: pip install 'flow-client[cli]'\n")
        return _NOT_INSTALLED
    from flow_client.cli.program import run  # noqa: PLC0415 - not before click is known to be there

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
