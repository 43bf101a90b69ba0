"""The exceptions of flow-client. A public call raises no other kind.

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
│   ├── PlatformUnsupportedError        404, 405, 501
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
    """Base class of all errors of this package. An attribute that is not known is None.

    Attributes:
        execution_id: the execution that the call was about.
        idempotency_key: the key of the call. Repeating the call with it cannot run a job twice.
        request_id: the platform's id of the request. Its operators can look it up.
        attempts: how many attempts were made. Repeating a request with a new token after a 401 counts as the same
            attempt.
        elapsed: how long the call took, in seconds.
    """

    execution_id: str | None = None
    idempotency_key: str | None = None
    request_id: str | None = None
    attempts: int | None = None
    elapsed: float | None = None

    def __init__(self, message: str = "", **context: Any) -> None:
        """Set `context` as attributes. The class declares which attributes there are."""
        super().__init__(message)
        self.add_context(**context)

    def add_context(self, **context: Any) -> None:
        """Set more attributes; the class declares which there are."""
        for name, value in context.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, value)

    def _repr_html_(self) -> str:
        from flow_client._notebook import error_card  # noqa: PLC0415 - only notebooks need it

        return error_card(self)


class ConfigurationError(PlatformClientError, ValueError):
    """A setting is missing or not valid. The message names the argument and the environment variable."""


class InvalidRequestError(PlatformClientError, ValueError):
    """An argument is not valid. Nothing was sent."""


class ClientClosedError(PlatformClientError, RuntimeError):
    """A client or bridge was used after `close()`, or a handle was used that is not attached to a client."""


class PlatformConnectionError(PlatformClientError):
    """The platform did not send a complete answer.

    Attributes:
        request_sent: False if the platform cannot have received the request, True if it may have.
        stage: what failed: `connect`, `tls` (a certificate or protocol error; not retried), `request` (while it was
            sent), `answer` (its status and headers), `body` or `back-off` (the wait before a retry).
    """

    request_sent: bool = True
    stage: str | None = None


class PlatformTimeoutError(PlatformConnectionError, TimeoutError):
    """The operation did not finish before its deadline. `stage` says what it was doing then."""


class PlatformResponseError(PlatformClientError):
    """The platform's answer does not match its specification, `openapi.yaml`.

    Attributes:
        status_code: the HTTP status of the answer.
    """

    status_code: int | None = None


class PlatformStatusError(PlatformClientError):
    """The platform answered with an error status, or with a redirect. Redirects are never followed.

    Attributes:
        status_code: the HTTP status.
        detail: the answer's `detail`: text, an object or a list of validation errors.
        retry_after: the seconds to wait before a retry, from the answer's `Retry-After`.
    """

    status_code: int | None = None
    detail: Any = None
    retry_after: float | None = None


class PlatformBadRequestError(PlatformStatusError):
    """400 or 422: the platform rejected the request."""


class PlatformAuthenticationError(PlatformStatusError):
    """401: the token is missing, not valid or expired."""


class PlatformPermissionError(PlatformStatusError):
    """403: the token does not allow this."""


class PlatformNotFoundError(PlatformStatusError):
    """404: the resource does not exist, or it belongs to another organisation or workspace."""


class PlatformUnsupportedError(PlatformStatusError):
    """404, 405 or 501: the platform does not offer this operation. Not all platforms list executions or show logs."""


class PlatformConflictError(PlatformStatusError):
    """409: the request conflicts with the current state."""


class PlatformRateLimitError(PlatformStatusError):
    """429: too many requests."""


class PlatformServerError(PlatformStatusError):
    """5xx: the platform could not serve the request."""


class PlatformExecutionError(PlatformClientError):
    """An execution did not produce the requested result.

    Attributes:
        record: the execution's last known record.
    """

    record: ExecutionRecord | None = None


class ExecutionWaitTimeout(PlatformClientError, TimeoutError):  # noqa: N818 - the name says what happened
    """An execution did not end within the time to wait for it. It is still running.

    Attributes:
        last_status: the last status that was seen.
    """

    last_status: str | None = None


class BridgeError(PlatformClientError):
    """NATS rejected a message, or cannot be reached."""


class BridgeTimeoutError(BridgeError, TimeoutError):
    """NATS did not answer in time."""


class MalformedInputError(BridgeError):
    """The execution's input does not match its schema in `openapi.yaml`.

    Attributes:
        raw: the bytes of the input as received.
    """

    raw: bytes | None = None


class PayloadTooLargeError(BridgeError):
    """A message is larger than the NATS server allows. Nothing was sent."""


class UndeliveredError(BridgeError):
    """Messages could not be stored.

    Attributes:
        undelivered: the number of messages.
    """

    undelivered: int = 0
