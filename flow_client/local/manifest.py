"""The manifest: the components of a local platform.

```toml
[[component]]
kind = "code_block"                   # code_block, workflow, agent, transform or service
id = "count-words"
handler = "components:count_words"    # module:function, from the manifest's folder; not for a service
env = { MODEL = "small" }             # optional

[[component]]
kind = "service"
id = "search"
version = "1.2"                       # optional
skills = "search-skills.json"         # a JSON file, or a table
```
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from flow_client.local.errors import ManifestError
from flow_client.local.identifiers import ID_PATTERN, PATTERNS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

SERVICE = "service"
KINDS = ("code_block", "workflow", "agent", "transform", SERVICE)
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_HANDLER = rf"^{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*$"


@dataclass(frozen=True)
class Component:
    """One component, and the manifest's line where it begins."""

    kind: str
    id: str
    line: int
    handler: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    skills: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The components of a manifest file."""

    path: Path
    components: tuple[Component, ...]

    @property
    def folder(self) -> Path:
        """The folder that handlers and skills are relative to."""
        return self.path.parent

    def find(self, kind: str, component_id: str) -> Component | None:
        """Return the component with that kind and id, None if there is none."""
        return next((c for c in self.components if (c.kind, c.id) == (kind, component_id)), None)

    def find_service(self, service_id: str, version: str | None = None) -> Component | None:
        """Return the service with that version, or the last one listed if `version` is None; None if there is none."""
        found = [c for c in self.components if (c.kind, c.id) == (SERVICE, service_id)]
        return next((c for c in reversed(found) if version in (None, c.version)), None)


def load(path: Path | str) -> Manifest:
    """Return the manifest at `path`. No code of a component is run.

    Raises:
        ManifestError: it cannot be read, or something in it is wrong; the message names the line.
    """
    path = Path(path).resolve()
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{path}:{_decode_error_line(error, text)}: is not TOML: {error}") from error
    return _Reader(path, text).manifest(content)


def _decode_error_line(error: tomllib.TOMLDecodeError, text: str) -> int:
    found = re.search(r"at line (\d+)", str(error))
    return int(found[1]) if found else text.count("\n") + 1


def _check_env(env: dict[str, Any]) -> dict[str, Any]:
    for name, value in env.items():
        if not re.fullmatch(_NAME, name):
            raise ValueError(f"env has {name!r}, which cannot be the name of a variable")
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f'env has {name} = {value!r}; it must be a string: write "{value}"')
    return env


def _check_json(skills: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(skills, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"skills cannot be written as JSON: {error}") from error
    return skills


def _read_file(skills: Any, info: ValidationInfo) -> Any:
    """Return what the file named `skills` says, from the folder that is the validation's context."""
    if not isinstance(skills, str):
        return skills
    try:
        return json.loads(Path(str(info.context), skills).read_bytes())
    except OSError as error:
        raise ValueError(f"skills is {skills!r}, which cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"skills is {skills!r}, which is not a JSON file: {error}") from error


def _text(pattern: str, form: str, **more: Any) -> Any:
    return Field(pattern=pattern, description=f"a string of the form {form}", **more)


class _Table(BaseModel):
    """What every [[component]] has. The description of a field says in messages what it must be."""

    model_config = ConfigDict(extra="forbid")

    id: str = _text(ID_PATTERN, "letters, digits, _ and -, at most 128")


class _Run(_Table):
    kind: Literal["code_block", "workflow", "agent", "transform"]
    handler: str = _text(_HANDLER, "module:function")
    env: Annotated[dict[str, Any], AfterValidator(_check_env)] = Field(
        {}, description='a table like { NAME = "value" }'
    )


class _Service(_Table):
    kind: Literal["service"]
    version: str = _text(PATTERNS["version"], '1.2, without the leading "v"', default="")
    skills: Annotated[dict[str, Any], BeforeValidator(_read_file), AfterValidator(_check_json)] = Field(
        None, validate_default=True, description="a table or a file with a JSON object"
    )


_TABLE: TypeAdapter[_Run | _Service] = TypeAdapter(Annotated[_Run | _Service, Field(discriminator="kind")])
_MODELS: dict[str, type[_Table]] = {kind: _Service if kind == SERVICE else _Run for kind in KINDS}


class _Reader:
    """Checks a parsed manifest. The parser keeps no line numbers, so an error looks up its line in the text."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._headers = [n for n, line in enumerate(self._lines, 1) if re.match(r"\s*\[\[\s*component\s*\]\]", line)]

    def manifest(self, content: Mapping[str, Any]) -> Manifest:
        for name in content:
            if name != "component":
                raise self._error(1, name, f"{name!r} is not known here; a manifest has [[component]] tables only")
        tables = content.get("component", [])
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            raise self._error(1, "component", "there is no component; add one under [[component]]")
        lines = self._headers if len(self._headers) == len(tables) else [1] * len(tables)
        components = tuple(self._component(line, table) for line, table in zip(lines, tables, strict=True))
        self._refuse_duplicates(components)
        return Manifest(self._path, components)

    def _component(self, line: int, table: Mapping[str, Any]) -> Component:
        try:
            checked = _TABLE.validate_python(table, context=self._path.parent)
        except ValidationError as error:
            # An unknown key first: it is often another key misspelt, which is missing then.
            first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
            name = str(first["loc"][1]) if len(first["loc"]) > 1 else "kind"
            raise self._error(line, name, _problem(first, name, table.get("kind"))) from error
        return Component(line=line, **checked.model_dump(exclude_unset=True))

    def _refuse_duplicates(self, components: tuple[Component, ...]) -> None:
        seen: dict[tuple[str, str, str | None], int] = {}
        for component in components:
            first = seen.setdefault((component.kind, component.id, component.version), component.line)
            if first != component.line:
                what = f"{component.kind} {component.id!r} is there already, on line {first}; give this one another id"
                raise self._error(component.line, "id", what)

    def _error(self, start: int, name: str, what: str) -> ManifestError:
        return ManifestError(f"{self._path}:{self._line_of(name, start)}: {what}")

    def _line_of(self, name: str, start: int) -> int:
        """Return the line of the key `name` in the component that begins on line `start`, else `start`."""
        end = next((header for header in self._headers if header > start), len(self._lines) + 1)
        key = re.compile(rf"\s*(?:\[\[?\s*(?:component\s*\.\s*)?)?[\"']?{re.escape(name)}[\"']?\s*[=.\]]")
        found = (number for number in range(start, end) if key.match(self._lines[number - 1]))
        return next(found, start)


def _problem(error: ErrorDetails, name: str, kind: Any) -> str:
    """Return what is wrong with the key `name` of a component of `kind`."""
    if name == "kind":
        return f"kind is {kind!r}; it must be one of {', '.join(KINDS)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    fields = _MODELS[kind].model_fields
    if error["type"] == "extra_forbidden":
        return f"{name!r} is not known for a {kind}; it has {', '.join(sorted(fields))}"
    found = "missing" if error["type"] == "missing" else repr(error["input"])
    return f"{name} is {found}; it must be {fields[name].description}"
