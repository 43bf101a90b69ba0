"""The overlay: it does what OpenAPI Overlay 1.1 says, and each of its actions has to be of use."""

import pytest

from codegen import overlay
from codegen.document import SpecError

DOCUMENT = {
    "paths": {
        "/a": {"get": {"operationId": "a", "parameters": [{"name": "x"}], "tags": ["one"]}},
        "/b": {"get": {"operationId": "b"}, "post": {"operationId": "c"}},
    },
    "components": {"schemas": {"Record": {"type": "object", "properties": {"status": {"type": "string"}}}}},
}


@pytest.fixture
def applied(tmp_path):
    """Applies an overlay of these actions."""

    def apply(actions, head="overlay: 1.1.0\n"):
        path = tmp_path / "overlay.yaml"
        path.write_text(f"{head}actions:\n{actions}")
        return overlay.read(path).apply(DOCUMENT)

    return apply


def test_update_merges_objects_and_appends_to_arrays(applied):
    found = applied("- {target: \"$.paths['/a'].get\", update: {tags: [two], x-retry: safe, operationId: d}}\n")
    assert found["paths"]["/a"]["get"] == {
        "operationId": "d",
        "parameters": [{"name": "x"}],
        "tags": ["one", "two"],
        "x-retry": "safe",
    }
    assert DOCUMENT["paths"]["/a"]["get"]["tags"] == ["one"]


def test_an_array_as_the_target_takes_one_more(applied):
    found = applied("- {target: \"$.paths['/a'].get.parameters\", update: {name: y}}\n")
    assert found["paths"]["/a"]["get"]["parameters"] == [{"name": "x"}, {"name": "y"}]


def test_a_filter_selects_operations(applied):
    found = applied("- {target: \"$.paths.*[?@.operationId == 'a' || @.operationId == 'c']\", update: {x: 1}}\n")
    assert [each["get"].get("x") for each in found["paths"].values()] == [1, None]
    assert found["paths"]["/b"]["post"]["x"] == 1


def test_remove_takes_out_each_match(applied):
    found = applied("- {target: '$.paths.*.get', remove: true}\n- {target: '$.components.schemas.*', remove: true}\n")
    assert found == {"paths": {"/a": {}, "/b": {"post": {"operationId": "c"}}}, "components": {"schemas": {}}}


def test_copy_takes_what_another_node_says(applied):
    found = applied(
        "- {target: $.components.schemas, update: {Update: {properties: {status: {description: s}}}}}\n"
        "- target: $.components.schemas.Update.properties.status\n"
        "  copy: $.components.schemas.Record.properties.status\n"
    )
    status = found["components"]["schemas"]["Update"]["properties"]["status"]
    assert status == {"description": "s", "type": "string"}


REFUSED = {
    "a target that is not there": (
        "- {target: $.components.schemas.Recrod, update: {a: 1}}\n",
        "overlay.yaml:3: $.components.schemas.Recrod matches nothing; did you mean $.components.schemas.Record ?",
    ),
    "what is said already": (
        """\
- {target: $.components.schemas.Record, update: {a: 1}}
- target: $.components.schemas.Record
  update: {type: object}
""",
        "overlay.yaml:4: $.components.schemas.Record: the document already says this; remove the action",
    ),
    "a target that is no JSONPath": ("- {target: '$.paths[', update: {a: 1}}\n", "is not a JSONPath"),
    "two things at once": ("- {target: $.paths, update: {a: 1}, remove: true}\n", "one of update, remove, copy"),
    "nothing to do": ("- {target: $.paths}\n", "one of update, remove, copy; this one has none of them"),
    "a word that overlays do not have": ("- {target: $.paths, updat: {a: 1}}\n", "this one has updat"),
    "no target": ("- {update: {a: 1}}\n", "an action needs a `target`"),
    "a copy of nothing": ("- {target: $.paths, copy: $.nothing}\n", "$.nothing matches nothing"),
    "a copy of several": ("- {target: $.components, copy: $.paths.*}\n", "copy takes one node; $.paths.* matches 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_action_that_is_of_no_use_is_refused_with_its_place(applied, name):
    actions, message = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        applied(actions)
    assert message in str(caught.value)
    assert str(caught.value).startswith("overlay.yaml:")


def test_a_file_that_is_no_overlay_is_refused(applied, tmp_path):
    with pytest.raises(SpecError, match="is not an OpenAPI Overlay"):
        applied("- {}\n", head="openapi: 3.1.0\n")
    with pytest.raises(SpecError, match="cannot be read"):
        overlay.read(tmp_path / "missing.yaml")
