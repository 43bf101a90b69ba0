"""Who calls the local platform in these tests: plain requests, and a client."""

import pytest
from support.caller import Caller


@pytest.fixture(scope="module")
def caller(platform):
    caller = Caller(platform)
    yield caller
    caller.session.close()


@pytest.fixture(scope="module")
def completed(caller):
    """The record of an execution that has completed."""
    return caller.run("agents", "answer")


@pytest.fixture
def client(platform):
    with platform.client() as client:
        yield client


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder for a platform that is started again."""
    return tmp_path_factory.mktemp("store")
