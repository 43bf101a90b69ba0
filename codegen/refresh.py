"""Makes the new lock from a live document, the overlay and the lock before."""

from dataclasses import dataclass
from pathlib import Path

from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from codegen import lock, overlay
from codegen.document import Schema, SpecError
from codegen.matching import Place
from codegen.normalise import normalise

MAX_OTHERS = 20
# What a walk through a document raises where a list stands for an object, or a number for a name.
_NOT_WHAT_IT_SHOULD_BE = (KeyError, TypeError, AttributeError, ValueError)


@dataclass(frozen=True)
class Refreshed:
    """The new lock, and what its reader should know."""

    document: Schema
    text: str
    notes: tuple[str, ...]


def refresh(live: Schema, present: Schema, overlay_path: Path) -> Refreshed:
    """Return the lock that `live` and the overlay make of the `present` one.

    Raises:
        SpecError: the live document, the overlay or what comes of them is not usable.
    """
    actions = overlay.read(overlay_path)
    document, notes = new_lock(live, present, actions)
    try:
        validate(document)
    except OpenAPIValidationError as error:
        raise SpecError(f"what comes of it with {overlay_path.name} is not valid OpenAPI: {error.message}") from error
    return Refreshed(document, lock.text(document), tuple(notes))


def new_lock(live: Schema, present: Schema, actions: overlay.Overlay) -> tuple[Schema, list[str]]:
    """Return the new lock and what was noted while it was made."""
    try:
        normal = normalise(live, present, actions.schema_names())
    except RecursionError as error:
        raise SpecError("the specification is nested too deeply") from error
    except _NOT_WHAT_IT_SHOULD_BE as error:
        raise SpecError(f"the specification is not valid OpenAPI: {_fault(live, error)}") from error
    document = lock.arrange(actions.apply(normal.document), present, normal.document)
    return document, [*normal.notes, *_others(normal.others)]


def _fault(live: Schema, error: Exception) -> str:
    """Return what is wrong with a document that could not be read: small faults pass, so it is validated only now."""
    try:
        validate(live)
    except OpenAPIValidationError as found:
        return f"{found.json_path}: {found.message:.300}"
    except _NOT_WHAT_IT_SHOULD_BE:
        pass  # The validator stumbles too.
    return f"{type(error).__name__}: {error}"


def _others(places: tuple[Place, ...]) -> list[str]:
    shown = [f"not generated, the client does not know it: {each}" for each in places[:MAX_OTHERS]]
    left = len(places) - len(shown)
    return [*shown, f"not generated: {left} more operations"] if left else shown
