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
    document = lock.arrange(actions.apply(normal.document), present, normal.document)
    return document, [*normal.notes, *_others(normal.others)]


def _others(places: tuple[Place, ...]) -> list[str]:
    shown = [f"not generated, the client does not know it: {each}" for each in places[:MAX_OTHERS]]
    left = len(places) - len(shown)
    return [*shown, f"not generated: {left} more operations"] if left else shown
