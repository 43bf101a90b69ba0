"""A generated model that is named before it is imported."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from flow_client._core.uninterrupted import uninterrupted

ModelT = TypeVar("ModelT")


class Model(Generic[ModelT]):
    """A generated model by its name, imported and built when it is first used.

    With pydantic's own part, all models take as long to be imported as requests does, and a script uses few of them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._type: type[ModelT] | None = None

    @property
    def type(self) -> type[ModelT]:
        """The model itself, built: it validates without any further work."""
        if self._type is None:
            # pydantic makes a SchemaError of what a signal handler raises while it builds.
            self._type = uninterrupted(self._built)
        return self._type

    def _built(self) -> Any:
        from flow_client._api._generated import models  # noqa: PLC0415 - see the class

        model: Any = getattr(models, self._name)
        model.model_rebuild()
        return model

    def __repr__(self) -> str:
        return f"Model({self._name!r})"
