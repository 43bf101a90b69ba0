"""The executions of a map on the recording server, and what submits them."""

from functools import partial

import pytest
from support.executions import Executions


@pytest.fixture
def executions(http_server):
    return Executions(http_server)


@pytest.fixture
def submit(client):
    return partial(client.submit_code_block_execution, "cb-1", ring_id="r-1")
