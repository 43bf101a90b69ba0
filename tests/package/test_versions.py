"""Every place that names a version of Python names the same ones."""

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, TOOL = PYPROJECT["project"], PYPROJECT["tool"]
CLASSIFIER = "Programming Language :: Python :: 3."
MINORS = [int(text.removeprefix(CLASSIFIER)) for text in PROJECT["classifiers"] if text.startswith(CLASSIFIER)]
OLDEST, NEWEST = f"3.{MINORS[0]}", f"3.{MINORS[-1]}"
# noxfile.py takes the classifiers.
PLACES = {
    "README.md": r"Python (3\.\d+) or newer",
    "Makefile": r"Python (?:>= )?(3\.\d+) (?:and|or newer)",
}


def test_the_classifiers_leave_no_version_out():
    assert list(range(MINORS[0], MINORS[-1] + 1)) == MINORS


def test_the_oldest_version_is_what_pip_asks_for_and_the_tools_check():
    assert PROJECT["requires-python"] == f">={OLDEST}"
    assert TOOL["ruff"]["target-version"] == f"py3{MINORS[0]}"
    assert TOOL["mypy"]["python_version"] == OLDEST
    assert TOOL["basedpyright"]["pythonVersion"] == OLDEST
    assert TOOL["datamodel-codegen"]["target-python-version"] == OLDEST


@pytest.mark.parametrize("name", PLACES)
def test_the_texts_name_the_oldest_version(name):
    named = re.findall(PLACES[name], (ROOT / name).read_text())
    assert len(named) >= 2
    assert set(named) == {OLDEST}


def test_make_refuses_what_is_older():
    assert f"sys.version_info < (3, {MINORS[0]})" in (ROOT / "Makefile").read_text()


def test_the_readme_names_the_versions_that_are_tested():
    assert f"tested with {OLDEST} to {NEWEST}" in (ROOT / "README.md").read_text()


def test_ci_runs_the_oldest_and_the_newest_version():
    assert f'PYTHONS="{OLDEST} {NEWEST}"' in (ROOT / ".ci" / "run").read_text()


def test_each_dependency_stays_below_its_next_major_version():
    for requirement in PROJECT["dependencies"]:
        name, lowest, limit = re.match(r"([a-z0-9-]+)>=(\d+)[0-9.]*,<(\d+)(?:; |$)", requirement).groups()
        assert int(limit) == int(lowest) + 1, name
