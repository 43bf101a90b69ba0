"""Makes the new lock from a live document, the overlay and the previous lock."""

from dataclasses import dataclass
from pathlib import Path

from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from codegen import lock, overlay
from codegen.document import Schema, SpecError
from codegen.matching import Place
from codegen.normalise import normalise

MAX_OTHERS = 20
# What reading a malformed document raises: it has a list in place of an object, or a number in place of a name.
_MALFORMED = (KeyError, TypeError, AttributeError, ValueError)


@dataclass(frozen=True)
class Refreshed:
    """The new lock, and notes for its reader."""

    document: Schema
    text: str
    notes: tuple[str, ...]


def refresh(live: Schema, present: Schema, overlay_path: Path) -> Refreshed:
    """Return the new lock, made from `live`, the overlay and the `present` lock.

    Raises:
        SpecError: the live document, the overlay or their result is not usable.
    """
    actions = overlay.read(overlay_path)
    document, notes = new_lock(live, present, actions)
    try:
        validate(document)
    except OpenAPIValidationError as error:
        raise SpecError(
            f"the result, with {overlay_path.name} applied, is not valid OpenAPI: {error.message}"
        ) from error
    return Refreshed(document, lock.text(document), tuple(notes))


def new_lock(live: Schema, present: Schema, actions: overlay.Overlay) -> tuple[Schema, list[str]]:
    """Return the new lock, and notes about it."""
    try:
        normal = normalise(live, present, actions.schema_names())
    except RecursionError as error:
        raise SpecError("the specification is nested too deeply") from error
    except _MALFORMED as error:
        raise SpecError(f"the specification is not valid OpenAPI: {_fault(live, error)}") from error
    document = lock.arrange(actions.apply(normal.document), present, normal.document)
    return document, [*normal.notes, *_others(normal.others)]


def _fault(live: Schema, error: Exception) -> str:
    """Return what is wrong with a document that could not be read. Small faults do no harm, so it is validated now."""
    try:
        validate(live)
    except OpenAPIValidationError as found:
        return f"{found.json_path}: {found.message:.300}"
    except _MALFORMED:
        pass  # The validator stumbles too.
    return f"{type(error).__name__}: {error}"


def _others(places: tuple[Place, ...]) -> list[str]:
    shown = [f"not generated, the client does not know it: {each}" for each in places[:MAX_OTHERS]]
    left = len(places) - len(shown)
    return [*shown, f"not generated: {left} more operations"] if left else shown
