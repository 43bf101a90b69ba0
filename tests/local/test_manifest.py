"""Everything that is wrong with a manifest is an error at start that names the file and the line."""

import pytest

from flow_client.local import LocalPlatform, LocalPlatformError, ManifestError
from flow_client.local.manifest import Component, load
from flow_client.local.runner.handler_check import check_handlers

RUN = '[[component]]\nkind = "workflow"\nid = "{id}"\nhandler = "{handler}"\n'
SERVICE = '[[component]]\nkind = "service"\nid = "search"\n'

WRONG = {
    "empty": ("", 1, "there is no component"),
    "not TOML": ('[[component]]\nkind = "workflow\n', 2, "is not TOML"),
    "unfinished": ("[[component]]\nkind =", 2, "is not TOML"),
    "unknown table": (RUN.format(id="a", handler="m:f") + "\n[server]\nport = 1\n", 6, "'server' is not known"),
    "component is no list": ('component = "a"\n', 1, "there is no component"),
    "no kind": ('[[component]]\nid = "a"\n', 1, "kind is None"),
    "unknown kind": ('\n\n[[component]]\nid = "a"\nkind = "lambda"\n', 5, "kind is 'lambda'; it must be one of"),
    "kind is a list": ('[[component]]\nkind = ["agent"]\n', 2, r"kind is \['agent'\]"),
    "no id": ('[[component]]\nkind = "agent"\nhandler = "m:f"\n', 1, "id is missing"),
    "id is a number": ('[[component]]\nkind = "agent"\nid = 5\n', 3, "id is 5"),
    "id is no token": (RUN.format(id="a.b", handler="m:f"), 3, "id is 'a.b'"),
    "id is a wildcard": (RUN.format(id="*", handler="m:f"), 3, r"id is '\*'"),
    "id is too long": (RUN.format(id="a" * 129, handler="m:f"), 3, "at most 128"),
    "id ends with a newline": (RUN.format(id="a\\n", handler="m:f"), 3, "id is 'a"),
    "same id twice": (RUN.format(id="a", handler="m:f") * 2, 7, "workflow 'a' is there already, on line 1"),
    "no handler": ('[[component]]\nkind = "workflow"\nid = "a"\n', 1, "handler is missing"),
    "handler without function": (RUN.format(id="a", handler="module"), 4, "handler is 'module'"),
    "handler with a path": (RUN.format(id="a", handler="../m:f"), 4, "handler is '../m:f'"),
    "second component": (RUN.format(id="a", handler="m:f") + RUN.format(id="b", handler="m"), 8, "handler is 'm'"),
    "unknown key": (RUN.format(id="a", handler="m:f") + "retries = 3\n", 5, "'retries' is not known for a workflow"),
    "skills on a workflow": (RUN.format(id="a", handler="m:f") + "skills = {}\n", 5, "'skills' is not known"),
    "handler on a service": (SERVICE + 'handler = "m:f"\n', 4, "'handler' is not known for a service"),
    "env is no table": (RUN.format(id="a", handler="m:f") + 'env = "A=1"\n', 5, "env is 'A=1'"),
    "env has a number": (RUN.format(id="a", handler="m:f") + "env = { A = 1 }\n", 5, 'A = 1; .* write "1"'),
    "env has a bad name": (RUN.format(id="a", handler="m:f") + 'env = { "A B" = "1" }\n', 5, "env has 'A B'"),
    "env as a table of its own": (RUN.format(id="a", handler="m:f") + "[component.env]\nA = 1\n", 5, "A = 1"),
    "no skills": (SERVICE, 1, "skills is None"),
    "skills is a number": (SERVICE + "skills = 5\n", 4, "skills is 5"),
    "skills file is missing": (SERVICE + 'skills = "no.json"\n', 4, "'no.json', which cannot be read: No such file"),
    "skills file is no JSON": (SERVICE + 'skills = "manifest.toml"\n', 4, "which is not a JSON file"),
    "skills has a date": (SERVICE + "skills = { since = 2026-01-05 }\n", 4, "cannot be written as JSON"),
    "skills has no number": (SERVICE + "skills = { weight = nan }\n", 4, "cannot be written as JSON"),
    "version with a v and a slash": (SERVICE + 'skills = {}\nversion = "1/2"\n', 5, "version is '1/2'"),
}

MODULE = """
import os
def good(task): ...
class Group:
    def method(task): ...
number = 5
print("a component may print")
"""
HANDLERS_WRONG = {
    "no module": ("nowhere:f", "importing nowhere raised ModuleNotFoundError"),
    "no function": ("components:bad", "components has no 'bad'"),
    "no method": ("components:Group.bad", r"components has no 'Group\.bad'"),
    "not callable": ("components:number", "'number' in components has type int, not a function"),
    "module raises": ("raises:f", "importing raises raised ZeroDivisionError: division by zero"),
    "module exits": ("exits:f", "importing exits raised SystemExit: 3"),
    "module ends the process": ("dies:f", "ended the process with exit code 4: last words"),
}


@pytest.fixture
def write(tmp_path):
    def write_manifest(text):
        path = tmp_path / "manifest.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_manifest


@pytest.fixture
def modules(tmp_path):
    (tmp_path / "components.py").write_text(MODULE)
    (tmp_path / "raises.py").write_text("1 / 0")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)")
    (tmp_path / "dies.py").write_text("import os\nos.write(2, b'last words')\nos._exit(4)")


@pytest.mark.parametrize(("text", "line", "message"), WRONG.values(), ids=WRONG)
def test_error_names_file_line_and_value(write, text, line, message):
    path = write(text)
    with pytest.raises(ManifestError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_good_manifest(write, tmp_path):
    (tmp_path / "skills.json").write_text('{"skills": []}')
    path = write(
        RUN.format(id="a", handler="pack.module:Group.run")
        + 'env = { NAME = "value" }\n'
        + SERVICE
        + 'version = "1.2"\nskills = "skills.json"\n'
    )
    manifest = load(path)
    workflow, service = manifest.components
    assert workflow == Component("workflow", "a", 1, handler="pack.module:Group.run", env={"NAME": "value"})
    assert service == Component("service", "search", 6, version="1.2", skills={"skills": []})
    assert manifest.folder == tmp_path
    assert manifest.find("workflow", "a") == workflow
    assert manifest.find("agent", "a") is None


def test_service_without_a_version_is_the_last_one_listed(write):
    versions = [f'{SERVICE}version = "{n}"\nskills = {{ version = {n} }}\n' for n in (1, 2)]
    manifest = load(write("".join(versions)))
    assert manifest.find_service("search").version == "2"
    assert manifest.find_service("search", "1").version == "1"
    assert manifest.find_service("search", "3") is None


def test_manifest_that_is_not_there(tmp_path):
    with pytest.raises(ManifestError, match=r"no\.toml: cannot be read: .*No such file"):
        load(tmp_path / "no.toml")


def test_manifest_that_is_not_utf8(tmp_path):
    (tmp_path / "manifest.toml").write_bytes(b"\xff")
    with pytest.raises(ManifestError, match=r"cannot be read: .*utf-8"):
        load(tmp_path / "manifest.toml")


@pytest.mark.usefixtures("modules")
def test_good_handlers(write):
    manifest = load(write(RUN.format(id="a", handler="components:good") + RUN.format(id="b", handler="json:dumps")))
    check_handlers(manifest)


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(("handler", "message"), HANDLERS_WRONG.values(), ids=HANDLERS_WRONG)
def test_wrong_handler_is_named_with_its_line(write, handler, message):
    path = write(RUN.format(id="a", handler="components:good") + "\n" + RUN.format(id="b", handler=handler))
    with pytest.raises(ManifestError, match=message) as caught:
        check_handlers(load(path))
    assert str(caught.value).startswith(f"{path}:6: handler is {handler!r}: ")


@pytest.mark.usefixtures("modules")
def test_platform_refuses_the_manifest_before_it_starts_anything(write, tmp_path):
    path = write(RUN.format(id="a", handler="components:bad"))
    with pytest.raises(ManifestError, match="has no 'bad'"):
        LocalPlatform(path, store_dir=tmp_path / "store").start()
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["org_id", "workspace_id", "ring_id"])
def test_ids_are_checked(tmp_path, name):
    with pytest.raises(LocalPlatformError, match=f"{name} is 'a.b'"):
        LocalPlatform(tmp_path / "manifest.toml", **{name: "a.b"})
