"""What `flow_client` offers."""

import importlib
import re

from support.documents import ROOT

import flow_client
import flow_client.errors
from flow_client._api.base import FlowModel


def test_all_is_sorted_and_every_name_resolves():
    constants = [name for name in flow_client.__all__ if name.isupper()]
    classes = [name for name in flow_client.__all__ if not name.isupper()]
    assert flow_client.__all__ == sorted(constants) + sorted(classes)
    for name in flow_client.__all__:
        assert getattr(flow_client, name) is not None
    assert set(flow_client.__all__) <= set(dir(flow_client))


def public_errors():
    return {
        name
        for name, value in vars(flow_client.errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }


def test_every_error_is_exported():
    assert public_errors() <= set(flow_client.__all__)


def test_the_page_of_errors_has_a_row_for_each():
    text = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(public_errors())


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. [\w:]+:: flow_client\.(\w+)(?:\(\))?$", text, re.MULTILINE)
    assert sorted(documented) == sorted(flow_client.__all__)


def test_every_model_of_the_specification_is_in_the_facade():
    generated = importlib.import_module("flow_client._api._generated.models")
    facade = importlib.import_module("flow_client.models")
    ours = {name for name, value in vars(generated).items() if isinstance(value, type) and issubclass(value, FlowModel)}
    assert ours - {"CompleteInput", "FlowModel", "OwnAnswer", "RecordMethods"} == {
        name for name in facade.__all__ if not name.isupper()
    }
