"""One platform for all tests of the command line."""

import pytest

from flow_client.local import LocalPlatform


@pytest.fixture(scope="session")
def platform(components):
    with LocalPlatform(components) as platform:
        yield platform


@pytest.fixture
def at_platform(platform, monkeypatch):
    """Have what is started find the platform."""
    for name, value in platform.environment().items():
        monkeypatch.setenv(name, value)
    return platform
