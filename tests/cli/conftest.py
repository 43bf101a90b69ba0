"""What the tests of the command line share."""

import pytest


@pytest.fixture
def at_platform(platform, monkeypatch):
    """Have what is started find the platform."""
    for name, value in platform.environment().items():
        monkeypatch.setenv(name, value)
    return platform
