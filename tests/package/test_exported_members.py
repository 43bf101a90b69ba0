"""What `flow_client` offers."""

import importlib

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


def test_every_error_is_exported():
    errors = {
        name
        for name, value in vars(flow_client.errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert errors <= set(flow_client.__all__)


def test_every_model_of_the_specification_is_in_the_facade():
    generated = importlib.import_module("flow_client._api._generated.models")
    facade = importlib.import_module("flow_client.models")
    ours = {name for name, value in vars(generated).items() if isinstance(value, type) and issubclass(value, FlowModel)}
    assert ours - {"CompleteInput", "FlowModel", "OwnAnswer", "RecordMethods"} == {
        name for name in facade.__all__ if not name.isupper()
    }
