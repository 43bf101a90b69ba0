"""The exceptions of flow-client; no other kind escapes a public call.

```
PlatformClientError
├── ConfigurationError (ValueError)
├── InvalidRequestError (ValueError)
├── ClientClosedError (RuntimeError)
├── PlatformConnectionError
│   └── PlatformTimeoutError (TimeoutError)
├── PlatformResponseError
├── PlatformStatusError
│   ├── PlatformBadRequestError         400, 422
│   ├── PlatformAuthenticationError     401
│   ├── PlatformPermissionError         403
│   ├── PlatformNotFoundError           404
│   ├── PlatformConflictError           409
│   ├── PlatformRateLimitError          429
│   └── PlatformServerError             5xx
├── PlatformExecutionError
├── ExecutionWaitTimeout (TimeoutError)
└── BridgeError
    ├── BridgeTimeoutError (TimeoutError)
    ├── MalformedInputError
    ├── PayloadTooLargeError
    └── UndeliveredError
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_client._api._generated.models import ExecutionRecord


class PlatformClientError(Exception):
    """Base of every error of this package. Each carries what it knows; the rest is None.

    Attributes:
        execution_id: the execution that was spoken of.
        idempotency_key: the key of the call. Calling again with it cannot run a job twice.
        request_id: the platform's own name for the request, for its operators.
        attempts: how many requests were sent.
        elapsed: how many seconds the call took.
    """

    execution_id: str | None = None
    idempotency_key: str | None = None
    request_id: str | None = None
    attempts: int | None = None
    elapsed: float | None = None

    def __init__(self, message: str = "", **context: Any) -> None:
        """Keep `context` as attributes; the class declares which there are."""
        super().__init__(message)
        self.add_context(**context)

    def add_context(self, **context: Any) -> None:
        """Set the attributes of `context`, each of which the class declares."""
        for name, value in context.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, value)

    def _repr_html_(self) -> str:
        from flow_client._notebook import error_card  # noqa: PLC0415 - only notebooks need it

        return error_card(self)


class ConfigurationError(PlatformClientError, ValueError):
    """A setting is missing or unusable. The message names the argument and the environment variable."""


class InvalidRequestError(PlatformClientError, ValueError):
    """A value cannot be sent. Nothing was sent."""


class ClientClosedError(PlatformClientError, RuntimeError):
    """The client or the bridge was used after `close()`, or a handle that was unpickled before it had a client."""


class PlatformConnectionError(PlatformClientError):
    """No whole answer came from the platform.

    Attributes:
        request_sent: False when the platform cannot have received the request, True when it may have.
        stage: where it failed: `connect`, `tls` (a certificate or protocol that another attempt cannot mend), `request`
            (while it was sent), `answer` (its head), `body` or `back-off`.
    """

    request_sent: bool = True
    stage: str | None = None


class PlatformTimeoutError(PlatformConnectionError, TimeoutError):
    """The deadline of the operation passed; `stage` says what the time was last spent on."""


class PlatformResponseError(PlatformClientError):
    """The platform answered with something that the contract does not allow.

    Attributes:
        status_code: the HTTP status of that answer.
    """

    status_code: int | None = None


class PlatformStatusError(PlatformClientError):
    """The platform answered with an error status, or with a redirect, which is never followed.

    Attributes:
        status_code: the HTTP status.
        detail: the answer's `detail`: text, an object or a list of validation errors; None without one.
        retry_after: the seconds after which the platform wants to be asked again, if it said so.
    """

    status_code: int | None = None
    detail: Any = None
    retry_after: float | None = None


class PlatformBadRequestError(PlatformStatusError):
    """400 or 422: the platform does not accept the request."""


class PlatformAuthenticationError(PlatformStatusError):
    """401: the token is missing, wrong or expired."""


class PlatformPermissionError(PlatformStatusError):
    """403: the token does not allow this."""


class PlatformNotFoundError(PlatformStatusError):
    """404: there is no such thing, or it belongs to somebody else."""


class PlatformConflictError(PlatformStatusError):
    """409: the request is at odds with the present state."""


class PlatformRateLimitError(PlatformStatusError):
    """429: too many requests."""


class PlatformServerError(PlatformStatusError):
    """5xx: the platform failed."""


class PlatformExecutionError(PlatformClientError):
    """An execution did not bring the result that was asked for.

    Attributes:
        record: the execution's last known status record, None when none was read.
    """

    record: ExecutionRecord | None = None


class ExecutionWaitTimeout(PlatformClientError, TimeoutError):  # noqa: N818 - the name says what happened
    """The wait for an execution ran out of time. The execution goes on.

    Attributes:
        last_status: the last status that was seen, None when none was.
    """

    last_status: str | None = None


class BridgeError(PlatformClientError):
    """NATS refused a message or cannot be reached."""


class BridgeTimeoutError(BridgeError, TimeoutError):
    """NATS did not answer in time."""


class MalformedInputError(BridgeError):
    """The execution's input is not what the contract says.

    Attributes:
        raw: the input's bytes as they were received.
    """

    raw: bytes | None = None


class PayloadTooLargeError(BridgeError):
    """A message is larger than the NATS server takes. Nothing was sent."""


class UndeliveredError(BridgeError):
    """Messages could not be stored.

    Attributes:
        undelivered: how many.
    """

    undelivered: int = 0
