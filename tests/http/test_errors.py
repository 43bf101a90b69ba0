"""No exception of a dependency comes out of a call: each is raised in requests' place."""

import asyncio
import builtins
import http.client
import inspect
import socket
import ssl
import zlib

import pydantic
import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter

import flow_client
from flow_client import PlatformClient

UNUSABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)


def exceptions_of(module):
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and not issubclass(kind, Warning)
    ]


def validation_error():
    try:
        pydantic.TypeAdapter(int).validate_python("x")
    except pydantic.ValidationError as error:
        return error


# Made without their arguments, some of which are connections and pools: what counts is what they are.
MODULES = (requests.exceptions, urllib3.exceptions, http.client, ssl, socket, builtins, zlib)
KINDS = {f"{kind.__module__}.{kind.__qualname__}": kind for module in MODULES for kind in exceptions_of(module)}
ERRORS = {name: kind.__new__(kind) for name, kind in KINDS.items() if not name.endswith("ExceptionGroup")}
ERRORS |= {
    "http.client.IncompleteRead": http.client.IncompleteRead(b"x", 5),
    "urllib3.exceptions.IncompleteRead": urllib3.exceptions.IncompleteRead(1, 5),
    "urllib3.exceptions.InvalidChunkLength": urllib3.exceptions.InvalidChunkLength(urllib3.HTTPResponse(b""), b"x"),
    "pydantic.ValidationError": validation_error(),
    "a certificate": ssl.SSLCertVerificationError(1, "certificate verify failed"),
    "an error with an error": requests.ConnectionError(urllib3.exceptions.ProtocolError("x", OSError(5, "y"))),
}


@pytest.fixture(autouse=True)
def _no_frames_are_kept():
    yield
    for error in ERRORS.values():
        error.__traceback__ = None


class RaisingAdapter(BaseAdapter):
    """Stands where requests stands, and raises."""

    def __init__(self, error):
        self.error = error
        self.sends = 0

    def send(self, *_, **__):
        self.sends += 1
        raise self.error

    def close(self):
        pass


def client_that_meets(adapter, max_attempts=3):
    session = requests.Session()
    session.mount("http://", adapter)
    return PlatformClient("http://127.0.0.1:9", "t-1", "o", "w", max_attempts=max_attempts, session=session)


# What the libraries and the operating system raise. Anything else came from the caller's own code.
FAMILIES = (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError, zlib.error)
FAILURES = [name for name, error in ERRORS.items() if isinstance(error, FAMILIES)]


@pytest.mark.parametrize("name", FAILURES)
def test_whatever_requests_raises_comes_out_as_our_error(name):
    adapter = RaisingAdapter(ERRORS[name])
    with client_that_meets(adapter, max_attempts=1) as client, pytest.raises(flow_client.PlatformClientError) as caught:
        client.get_execution_status("e-1")
    assert caught.value.__cause__ is ERRORS[name]
    assert type(caught.value).__module__ == "flow_client.errors"
    assert str(caught.value)
    assert caught.value.attempts == 1


@pytest.mark.parametrize("name", sorted(set(ERRORS) - set(FAILURES)))
def test_what_the_libraries_do_not_raise_passes_through_and_is_not_tried_again(name):
    adapter = RaisingAdapter(ERRORS[name])
    with client_that_meets(adapter) as client, pytest.raises(type(ERRORS[name])) as caught:
        client.get_execution_status("e-1")
    assert caught.value is ERRORS[name]
    assert adapter.sends == 1


def test_the_walk_met_every_library():
    assert len(ERRORS) > 100
    assert {"http.client.LineTooLong", "ssl.SSLError", "socket.gaierror", "zlib.error"} <= set(FAILURES)
    assert {"urllib3.exceptions.ReadTimeoutError", "requests.exceptions.InvalidProxyURL"} <= set(FAILURES)


@pytest.mark.parametrize("name", [name for name, error in ERRORS.items() if isinstance(error, UNUSABLE)])
def test_a_request_that_cannot_be_made_is_not_tried_again(name):
    adapter = RaisingAdapter(ERRORS[name])
    with client_that_meets(adapter) as client, pytest.raises(flow_client.ConfigurationError, match="cannot be sent"):
        client.get_execution_status("e-1")
    assert adapter.sends == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_error_passes_through_and_is_not_tried_again(kind):
    adapter = RaisingAdapter(kind())
    with client_that_meets(adapter) as client, pytest.raises(kind):
        client.get_execution_status("e-1")
    assert adapter.sends == 1


def test_a_client_that_is_closed_between_attempts_says_so():
    client = PlatformClient("http://127.0.0.1:9", "t-1", "o", "w", max_attempts=3)
    client._transport._retrier._sleep = lambda _: client.close()
    with client, pytest.raises(flow_client.ClientClosedError):
        client.get_execution_status("e-1")
