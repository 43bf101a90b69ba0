"""Everything public has a type: what an editor or a type checker shows a user is never guessed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support.documents import ROOT

OTHERS_GENERICS = {"flow_client.local.api.app", "flow_client.local.api.auth", "flow_client.cli.inputs"}
"""Modules with a class of starlette or click that only newer versions let take the arguments it then wants."""


def test_every_public_symbol_has_a_known_type(tmp_path):
    pyright = Path(sys.executable).with_name("basedpyright")
    command = [
        pyright,
        "--pythonpath",
        sys.executable,
        "--verifytypes",
        "flow_client",
        "--ignoreexternal",
        "--outputjson",
    ]
    # Elsewhere than in the repository, whose own settings name the files to check.
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    checked = subprocess.run(command, capture_output=True, timeout=100, check=False, **options)
    symbols = json.loads(checked.stdout)["typeCompleteness"]["symbols"]
    assert len(symbols) > 500
    doubtful = [each["name"] for each in symbols if each["isExported"] and not each["isTypeKnown"]]
    assert [name for name in doubtful if not any(name.startswith(module) for module in OTHERS_GENERICS)] == []
