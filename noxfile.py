"""The tests on every Python that pyproject.toml names and that is found here, and with the oldest dependencies.

`make matrix`, `make lowest` and `make audit` run it. The variable `PYTHONS` names the versions to take instead, each of
which must then be there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nox
from packaging.requirements import Requirement

PROJECT: dict[str, Any] = nox.project.load_toml("pyproject.toml")["project"]
DECLARED = nox.project.python_versions({"project": PROJECT})
NAMED = os.environ.get("PYTHONS", "").split()
SHIPPED = ("cli", "local", "nkeys", "progress")
"""The extras that users install."""

nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "virtualenv"  # with pip, which knows the machine's package indices
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = bool(NAMED)


def show_all_of_pyenv() -> None:
    """Have pyenv's `python3.12` and the like work: by themselves they run only what was chosen for this folder."""
    pyenv = shutil.which("pyenv")
    if pyenv and "PYENV_VERSION" not in os.environ:
        found = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True)  # noqa: S603
        plain = [version for version in found.stdout.split() if re.fullmatch(r"[0-9.]+", version)]
        os.environ["PYENV_VERSION"] = ":".join(reversed(plain))


def lowest_versions() -> list[str]:
    """Return what users get installed, each in the oldest version that it is declared for."""
    extras = PROJECT["optional-dependencies"]
    declared = [Requirement(text) for text in sum((extras[name] for name in SHIPPED), PROJECT["dependencies"])]
    for requirement in declared:
        (lowest,) = (bound.version for bound in requirement.specifier if bound.operator == ">=")
        requirement.specifier &= f"=={lowest}"
    return list(map(str, declared))


show_all_of_pyenv()


@nox.session(python=NAMED or DECLARED)
def tests(session: nox.Session) -> None:
    """Run the tests, or those that the arguments name."""
    session.install("--editable", ".[dev]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=DECLARED[0])
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions of the dependencies that are declared, on the oldest Python."""
    session.install("--editable", ".[dev]", *lowest_versions())
    session.run("python", "-m", "pip", "list")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Look up what users get installed, in the newest versions, in the database of known vulnerabilities."""
    session.install("pip-audit")
    extras = PROJECT["optional-dependencies"]
    wanted = Path(session.create_tmp(), "requirements.txt")
    wanted.write_text("\n".join(sum((extras[name] for name in SHIPPED), PROJECT["dependencies"])), encoding="utf-8")
    # Strict: what cannot be looked up is a failure too.
    session.run("pip-audit", "--strict", "--requirement", str(wanted))
