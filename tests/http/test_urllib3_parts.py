"""Each part of urllib3, requests and http.client that we reach into is there, and takes what we give it.

A version that changes one of them fails here, by its name, and not in the field.
"""

import http.client
import inspect
import io
import queue

import pytest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.response import HTTPResponse

from flow_client._http import connections

METHODS = [
    (HTTPConnection, "connect", ["self"]),
    (HTTPConnection, "_new_conn", ["self"]),
    (HTTPConnection, "_tunnel", ["self"]),
    (HTTPConnection, "send", ["self", "data"]),
    (HTTPConnection, "getresponse", ["self"]),
    (HTTPSConnection, "connect", ["self"]),
    (HTTPConnectionPool, "_validate_conn", ["self", "conn"]),
    (HTTPSConnectionPool, "_validate_conn", ["self", "conn"]),
    (http.client.HTTPResponse, "begin", ["self"]),
    (http.client.HTTPResponse, "_check_close", ["self"]),
    (http.client.HTTPResponse, "_close_conn", ["self"]),
    (HTTPAdapter, "init_poolmanager", ["self", "connections", "maxsize", "block", "pool_kwargs"]),
    (HTTPAdapter, "proxy_manager_for", ["self", "proxy", "proxy_kwargs"]),
    (HTTPAdapter, "get_connection_with_tls_context", ["self", "request", "verify", "proxies", "cert"]),
    (HTTPAdapter, "request_url", ["self", "request", "proxies"]),
    (HTTPAdapter, "build_response", ["self", "req", "resp"]),
    (HTTPAdapter, "__getstate__", ["self"]),
    (HTTPAdapter, "__setstate__", ["self", "state"]),
]


@pytest.mark.parametrize(("kind", "name", "parameters"), METHODS, ids=lambda value: getattr(value, "__name__", value))
def test_a_method_is_there_and_takes_what_it_took(kind, name, parameters):
    assert list(inspect.signature(getattr(kind, name)).parameters) == parameters


def test_the_attributes_of_a_connection_are_there():
    connection = HTTPConnection("h", 80, timeout=5)
    assert connection._dns_host == "h"
    assert (connection.host, connection.port, connection.timeout, connection.sock) == ("h", 80, 5, None)
    assert connection.is_closed
    assert callable(connection.response_class)
    assert HTTPConnection.debuglevel == 0


def test_an_answer_says_how_much_of_its_body_is_left_and_was_read():
    answer = HTTPResponse(io.BytesIO(b"12345"), {"Content-Length": "5"}, preload_content=False)
    assert (answer.length_remaining, answer.tell()) == (5, 0)
    assert answer.read(decode_content=False) == b"12345"
    assert (answer.length_remaining, answer.tell()) == (0, 5)


@pytest.mark.parametrize(
    ("kind", "made_of"), [(HTTPConnectionPool, HTTPConnection), (HTTPSConnectionPool, HTTPSConnection)]
)
def test_the_attributes_of_a_pool_are_there(kind, made_of):
    assert kind.ConnectionCls is made_of
    assert issubclass(kind.QueueCls, queue.Queue)
    assert isinstance(kind("h").pool, kind.QueueCls)


def test_a_manager_makes_the_pools_that_it_is_told_to():
    manager = PoolManager()
    assert set(manager.pool_classes_by_scheme) == {"http", "https"}
    connections.bound_connections(manager)
    for url, kind in (("http://h", connections._BoundedConnection), ("https://h", connections._BoundedTLSConnection)):
        pool = manager.connection_from_url(url)
        assert isinstance(pool._new_conn(), kind)
        assert isinstance(pool.pool, connections._Stack)


def test_a_connection_takes_its_address_from_the_name_that_we_set():
    connection = HTTPConnection("no-such-host.invalid", 9, timeout=5)
    connection._dns_host = "127.0.0.1"
    with pytest.raises(NewConnectionError, match="refused"):
        connection.connect()


def test_the_connections_are_those_of_urllib3_whatever_stands_in_its_module():
    assert connections.HTTPConnection is HTTPConnection
    assert connections.HTTPSConnection is HTTPSConnection
