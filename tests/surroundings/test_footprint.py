"""What the client costs the process that it lives in."""

import subprocess
import sys

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


def test_two_thousand_calls_leave_nothing_behind(programs, server):
    report = programs.run("endurance", server)
    assert report["outcomes"] == {"failed": 200, "right": 1800}
    assert report["growth"]["threads"] == 0
    assert report["growth"]["files"] <= 0
    assert report["growth"]["bytes"] < 128 * 1024
