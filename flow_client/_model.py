"""The base classes of the generated models."""

from pydantic import BaseModel, ConfigDict

TERMINAL_STATUSES = frozenset({"completed", "failed", "timeout", "dead_letter", "cancelled"})
"""The statuses after which an execution does not change any more (contract section 1), in lower case."""


class FlowModel(BaseModel):
    """Base of all models. A model is built at its first use: most scripts use a few of them."""

    model_config = ConfigDict(defer_build=True)


class RecordMethods(FlowModel):
    """What an execution's record can be asked."""

    status: str

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended. A status that is not known is not terminal."""
        return self.status.lower() in TERMINAL_STATUSES

    @property
    def is_completed(self) -> bool:
        """Whether the execution has ended well."""
        return self.status.lower() == "completed"
