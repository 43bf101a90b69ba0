"""Reads a document from a file or a live platform."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml

from codegen.document import Schema, SpecError

CONNECT_TIMEOUT = 10.0
FETCH_TIMEOUT = 60.0
MAX_BYTES = 32 * 1024 * 1024


def read(source: str, headers: Mapping[str, str] | None = None) -> Schema:
    """Return the OpenAPI document at `source`, a file or an http(s) URL, in JSON or YAML.

    Raises:
        SpecError: it cannot be fetched or read, or is not an OpenAPI 3 document.
    """
    is_url = urlsplit(source).scheme in ("http", "https")
    try:
        content = _fetch(source, headers or {}) if is_url else Path(source).read_bytes()
        return _document(source, parse(source, content))
    except RecursionError as error:
        raise SpecError(f"{source} is nested too deeply") from error
    except requests.RequestException as error:
        raise SpecError(f"{source} cannot be fetched: {error}") from error
    except OSError as error:
        raise SpecError(f"{source} cannot be read: {error}") from error


def parse(source: str, content: bytes) -> Any:
    """Return the parsed `content`: JSON, or else YAML with JSON's types.

    Raises:
        SpecError: it is neither.
    """
    text = content.decode("utf-8-sig", "replace")
    if re.match(r"\s*<(!doctype|html|\?xml|head|body)", text, re.IGNORECASE):
        raise SpecError(f"{source} is a web page, not a specification (a login page, or the URL of the docs?)")
    try:
        return json.loads(text)
    except ValueError:
        pass  # Most files are YAML.
    try:
        return yaml.load(text, _JsonLoader)  # noqa: S506 - a SafeLoader that knows fewer types
    except yaml.YAMLError as error:
        raise SpecError(f"{source} is neither JSON nor YAML: {error}") from error


class _JsonLoader(yaml.SafeLoader):
    """Reads YAML 1.2's core types: a date stays text, `on` and `no` are words."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - pyyaml's own


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?\d+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?$", "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("merge", r"^<<$", "<"),
):
    _JsonLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), [*_first, ""])


def _fetch(url: str, headers: Mapping[str, str]) -> bytes:
    accept = {"Accept": "application/json, application/yaml;q=0.9, */*;q=0.1"}
    with requests.get(url, headers={**accept, **headers}, timeout=CONNECT_TIMEOUT, stream=True) as answer:
        if answer.status_code in (401, 403):
            raise SpecError(f"{url} answered {answer.status_code}: pass --header 'Authorization: Bearer ...'")
        if answer.status_code != 200:  # noqa: PLR2004 - the only status that brings a document
            raise SpecError(f"{url} answered {answer.status_code} {answer.reason}")
        return _body(url, answer)


def _body(url: str, answer: requests.Response) -> bytes:
    deadline = time.monotonic() + FETCH_TIMEOUT
    content = bytearray()
    for chunk in answer.iter_content(65536):
        content += chunk
        if len(content) > MAX_BYTES:
            raise SpecError(f"{url} is larger than {MAX_BYTES // 1024**2} MiB")
        if time.monotonic() > deadline:
            raise SpecError(f"{url} did not arrive within {FETCH_TIMEOUT:g} s")
    return bytes(content)


def _document(source: str, document: Any) -> Schema:
    if isinstance(document, dict) and "swagger" in document:
        raise SpecError(f"{source} is Swagger {document['swagger']}; convert it to OpenAPI 3 first")
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise SpecError(f"{source} is not an OpenAPI document: it has no paths")
    found: Schema = _with_text_keys(document)
    return found


def _with_text_keys(node: Any) -> Any:
    """Return a copy as JSON has it: YAML reads a response's 200 as a number, and an alias as the same object."""
    if isinstance(node, dict):
        return {str(key): _with_text_keys(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_text_keys(each) for each in node]
    return node
