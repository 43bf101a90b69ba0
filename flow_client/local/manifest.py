"""The manifest: which components a local platform has.

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
from typing import TYPE_CHECKING, Any

from flow_client.local.errors import ManifestError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "service"
KINDS = ("code_block", "workflow", "agent", "transform", SERVICE)
ID_PATTERN = r"[A-Za-z0-9_-]{1,128}"
_VERSION_PATTERN = r"[A-Za-z0-9_-]{1,32}(\.[A-Za-z0-9_-]{1,32}){0,7}"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_HANDLER_PATTERN = rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*"
_RUN_KEYS = frozenset({"kind", "id", "handler", "env"})
_SERVICE_KEYS = frozenset({"kind", "id", "version", "skills"})


@dataclass(frozen=True)
class Component:
    """One component and the manifest's line where it begins."""

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
        """Return the component of that kind and id that is run, None if there is none."""
        return next((c for c in self.components if (c.kind, c.id) == (kind, component_id)), None)

    def find_service(self, service_id: str, version: str | None = None) -> Component | None:
        """Return a service: of that version, or the last one listed."""
        found = [c for c in self.components if (c.kind, c.id) == (SERVICE, service_id)]
        return next((c for c in reversed(found) if version in (None, c.version)), None)


def load(path: Path | str) -> Manifest:
    """Return the manifest at `path`. No code of a component is run.

    Raises:
        ManifestError: it cannot be read or something in it is wrong; the message names the line.
    """
    path = Path(path).resolve()
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as exc:
        raise ManifestError(f"{path}: cannot be read: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ManifestError(f"{path}:{_decode_error_line(exc, text)}: is not TOML: {exc}") from exc
    return _Reader(path, text).manifest(content)


def _decode_error_line(exc: tomllib.TOMLDecodeError, text: str) -> int:
    found = re.search(r"at line (\d+)", str(exc))
    return int(found[1]) if found else text.count("\n") + 1


class _Reader:
    """Checks a parsed manifest. The parser keeps no line numbers, so an error looks its line up in the text."""

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
        kind = table.get("kind")
        if kind not in KINDS:
            raise self._error(line, "kind", f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
        allowed = _SERVICE_KEYS if kind == SERVICE else _RUN_KEYS
        for name in table:
            if name not in allowed:
                listed = ", ".join(sorted(allowed))
                raise self._error(line, name, f"{name!r} is not known for a {kind}; it has {listed}")
        component_id = self._text(line, table, "id", ID_PATTERN, "letters, digits, _ and -, at most 128")
        if kind == SERVICE:
            return Component(
                kind, component_id, line, version=self._version(line, table), skills=self._skills(line, table)
            )
        handler = self._text(line, table, "handler", _HANDLER_PATTERN, "module:function")
        return Component(kind, component_id, line, handler=handler, env=self._env(line, table))

    def _text(self, line: int, table: Mapping[str, Any], name: str, pattern: str, form: str) -> str:
        value = table.get(name)
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        if name not in table:
            raise self._error(line, name, f'{name} is missing; add {name} = "…" ({form})')
        raise self._error(line, name, f"{name} is {value!r}; it must be a string of the form {form}")

    def _version(self, line: int, table: Mapping[str, Any]) -> str | None:
        if "version" not in table:
            return None
        return self._text(line, table, "version", _VERSION_PATTERN, '1.2, without the leading "v"')

    def _env(self, line: int, table: Mapping[str, Any]) -> dict[str, str]:
        env = table.get("env", {})
        if not isinstance(env, dict):
            raise self._error(line, "env", f'env is {env!r}; it must be a table like {{ NAME = "value" }}')
        for name, value in env.items():
            if not re.fullmatch(_NAME, name):
                raise self._error(line, "env", f"env has {name!r}, which cannot be the name of a variable")
            if not isinstance(value, str) or "\0" in value:
                raise self._error(line, "env", f'env has {name} = {value!r}; it must be a string: write "{value}"')
        return env

    def _skills(self, line: int, table: Mapping[str, Any]) -> dict[str, Any]:
        skills = table.get("skills")
        if isinstance(skills, str):
            skills = self._skills_file(line, skills)
        if not isinstance(skills, dict):
            raise self._error(line, "skills", f"skills is {skills!r}; it must be a table or a file with a JSON object")
        try:
            json.dumps(skills, allow_nan=False)
        except (TypeError, ValueError) as exc:
            raise self._error(line, "skills", f"skills cannot be written as JSON: {exc}") from exc
        return skills

    def _skills_file(self, line: int, name: str) -> Any:
        try:
            return json.loads((self._path.parent / name).read_bytes())
        except OSError as exc:
            raise self._error(line, "skills", f"skills is {name!r}, which cannot be read: {exc.strerror}") from exc
        except ValueError as exc:
            raise self._error(line, "skills", f"skills is {name!r}, which is not a JSON file: {exc}") from exc

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
