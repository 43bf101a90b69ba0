"""What the client costs the process that it lives in."""

import subprocess
import sys

import pytest
from support.size import few

HEAVY = {"requests", "urllib3", "pydantic", "tenacity", "asyncio", "nats", "ssl"}


def _imported_by(code):
    """Return the modules that a fresh interpreter imports for `code`, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-X", "importtime", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_the_import_loads_nothing_but_the_package_and_the_standard_library():
    loaded = _imported_by("import flow_client") - _imported_by("pass")
    tops = {name.partition(".")[0] for name in loaded}
    assert not loaded & HEAVY
    assert tops - sys.stdlib_module_names == {"flow_client"}
    assert {name for name in loaded if name.startswith("flow_client")} == {"flow_client"}


def test_the_import_loads_hardly_anything():
    """Time cannot be tested, modules can: 40 of them are the better part of 12 ms, the package alone is 1."""
    assert len(_imported_by("import flow_client") - _imported_by("pass")) <= 10


@pytest.mark.soak
def test_hundreds_of_calls_leave_nothing_behind(programs, server):
    calls = few(600, of=2000)
    report = programs.run("endurance", server, str(calls))
    assert report["outcomes"] == {"failed": calls // 10, "right": calls - calls // 10}
    assert report["growth"]["threads"] == 0
    assert report["growth"]["files"] <= 0
    assert report["growth"]["bytes"] < 128 * 1024
