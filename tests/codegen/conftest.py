"""A copy of the package, refreshed as a maintainer would do it and used as a caller would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.__main__ import main

ROOT = Path(__file__).parents[2]


class Package:
    """The package and its lock in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.lock = folder / "openapi.yaml"
        self.code = folder / "flow_client"
        shutil.copy(ROOT / "openapi.yaml", self.lock)

    def codegen(self, *arguments):
        """Run the command line on this package."""
        return main([*arguments, "--lock", str(self.lock), "--output", str(self.code)])

    def with_code(self):
        """Return this package with the rest of the client in it."""
        if not (self.code / "client.py").exists():
            shutil.copytree(ROOT / "flow_client", self.code, dirs_exist_ok=True)  # with what is compiled already
        return self

    def run(self, program, *arguments):
        """Run a program that imports this package and return the JSON that it prints."""
        done = subprocess.run(
            [sys.executable, "-W", "error", str(program), *arguments],
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path)
