"""Calls of the platform's operations: token, idempotency key, retries, one deadline, errors, the answer's type."""

from __future__ import annotations

import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar
from urllib.parse import urlencode

from pydantic_core import ValidationError

import flow_client
from flow_client._api.model import Model
from flow_client._core import jsontext
from flow_client._core.checks import shown
from flow_client._core.deadline import Deadline
from flow_client._core.log import logger
from flow_client._core.secret import Secret
from flow_client._core.tracebacks import trim_traceback
from flow_client._http import body as request_body
from flow_client._http.exchange import HttpExchange
from flow_client._http.retry import Call, retry_after_seconds
from flow_client.errors import (
    ClientClosedError,
    ConfigurationError,
    InvalidRequestError,
    PlatformAuthenticationError,
    PlatformBadRequestError,
    PlatformClientError,
    PlatformConflictError,
    PlatformNotFoundError,
    PlatformPermissionError,
    PlatformRateLimitError,
    PlatformResponseError,
    PlatformServerError,
    PlatformStatusError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from flow_client._api.operation import Operation
    from flow_client._http.retry import Retrier
    from flow_client._http.session import HttpAnswer, HttpSession
    from flow_client._http.tokens import TokenStore
    from flow_client.config import Settings

AnswerT = TypeVar("AnswerT")

_STATUS_ERRORS: dict[int, type[PlatformStatusError]] = {
    400: PlatformBadRequestError,
    401: PlatformAuthenticationError,
    403: PlatformPermissionError,
    404: PlatformNotFoundError,
    409: PlatformConflictError,
    422: PlatformBadRequestError,
    429: PlatformRateLimitError,
}
_FIRST_SERVER_ERROR = 500
_UNAUTHORIZED = 401
_MAX_KEY_LENGTH = 255
_MAX_DETAIL = 1000


@dataclass(eq=False)
class Reply(Generic[AnswerT]):
    """An operation's answer, its headers, and the idempotency key that was sent."""

    value: AnswerT
    headers: Any = field(repr=False)
    idempotency_key: str | None


@dataclass(eq=False)
class Request:
    """What is sent with every attempt, except for the token, which may change in between."""

    operation: Operation[Any]
    path: str
    body: bytes | None
    headers: dict[str, str]
    idempotency_key: str | None

    @property
    def name(self) -> str:
        """Return the request's name for messages."""
        return f"{self.operation.method} {self.path}"


class Transport:
    """Sends requests and turns answers into models or errors. Threads may share it.

    Args:
        settings: the client's settings.
        tokens: the token and its renewal.
        session: the connections. Closing this transport leaves them open; closing them closes the transport.
        retrier: makes the attempts.
    """

    def __init__(self, settings: Settings, tokens: TokenStore, session: HttpSession, retrier: Retrier) -> None:
        self._settings = settings
        self._tokens = tokens
        self._session = session
        self._retrier = retrier
        self._fixed_headers = _fixed_headers(settings)
        self._closed = False

    def check_open(self) -> None:
        """Raise `ClientClosedError` if the transport or its session was closed."""
        if self._closed or self._session.closed:
            raise ClientClosedError("the client was closed; create a new one")

    def call(
        self,
        operation: Operation[AnswerT],
        ids: Mapping[str, UUID | str],
        fields: dict[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | Deadline | None = None,
        max_attempts: int | None = None,
    ) -> Reply[AnswerT]:
        """Send `operation` and return its answer.

        Args:
            operation: the operation.
            ids: the values of its path parameters, except for organisation and workspace, which are in the settings.
            fields: the fields of its body.
            query: the parameters of the query; a list repeats its parameter, and None leaves it out.
            idempotency_key: the caller's key; None generates one.
            headers: additional headers.
            timeout: seconds for the whole call, including retries and pauses; None takes that of the settings. Another
                thread can make a `Deadline` pass.
            max_attempts: limit on the attempts; None takes that of the settings.

        Raises:
            ConfigurationError: the operation needs an organisation or a workspace, and the settings have none.
            InvalidRequestError: a value cannot be sent. Nothing was sent.
            ClientClosedError: the client was closed.
            PlatformConnectionError, PlatformTimeoutError: no complete answer arrived.
            PlatformStatusError: the platform answered with an error; the subclass says which.
            PlatformResponseError: the answer does not match the specification.
        """
        __tracebackhide__ = True
        try:
            path = operation.url_path(self._path_values(operation, ids)) + _query(query or {})
            request = self._request(operation, path, fields or {}, idempotency_key, headers or {})
            return self._run(request, timeout or self._settings.timeout, max_attempts or self._settings.max_attempts)
        except BaseException as error:
            if isinstance(error, PlatformClientError) and "execution_id" in ids:
                error.add_context(execution_id=str(ids["execution_id"]))
            trim_traceback(error)
            raise

    def _run(self, request: Request, timeout: float | Deadline, max_attempts: int) -> Reply[Any]:
        """Send the request, retry it if that can help, and return the answer in the operation's type."""
        deadline = timeout if isinstance(timeout, Deadline) else Deadline(timeout)
        exchange = HttpExchange(deadline)
        call: Call[HttpAnswer] = Call(
            attempt=lambda: self._attempt(request, exchange),
            deadline=deadline,
            max_attempts=1 if request.operation.retry == "none" else max_attempts,
            name=request.name,
        )
        try:
            answer = self._retrier.run(call)
            return Reply(_parse(request, answer), answer.headers, request.idempotency_key)
        except PlatformClientError as error:
            error.add_context(
                idempotency_key=request.idempotency_key, attempts=call.attempts, elapsed=deadline.elapsed()
            )
            raise

    def _path_values(self, operation: Operation[Any], ids: Mapping[str, object]) -> dict[str, object]:
        values = {"org_id": self._settings.org_id, "workspace_id": self._settings.workspace_id, **ids}
        for parameter in operation.path_parameters:
            # Only organisation and workspace can come from the settings; the caller gives the others with each call.
            if parameter.name not in ids and values[parameter.name] is None:
                raise ConfigurationError(
                    f"{operation.operation_id} needs {parameter.name}: "
                    f"pass {parameter.name}=… to the client or set {parameter.name.upper()}"
                )
        return values

    def refresh_environment(self) -> None:
        """Read proxies and CA bundles from the environment again."""
        self._session.refresh_environment()

    def close(self) -> None:
        """Refuse further calls; the connections stay open for other transports. Can be called twice."""
        self._closed = True

    def _request(
        self,
        operation: Operation[Any],
        path: str,
        fields: dict[str, Any],
        idempotency_key: str | None,
        headers: dict[str, str],
    ) -> Request:
        body = request_body.encode(operation, fields)
        headers = {**self._fixed_headers, **headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if operation.retry == "keyed":
            # The same for all attempts: by it the platform tells a retry from a second job.
            idempotency_key = str(uuid.uuid4()) if idempotency_key is None else _checked_key(idempotency_key)
            headers["Idempotency-Key"] = idempotency_key
        return Request(operation, path, body, headers, idempotency_key)

    def _attempt(self, request: Request, exchange: HttpExchange) -> HttpAnswer:
        token = self._tokens.current()
        answer = self._send(request, token, exchange)
        if answer.status == _UNAUTHORIZED and self._tokens.refresh(token):
            answer = self._send(request, self._tokens.current(), exchange)
        if answer.headers.get("X-Auth-Token"):
            self._tokens.replace(Secret(answer.headers["X-Auth-Token"]))
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - the class of success, RFC 9110 §15.3
            raise _status_error(request, answer)
        return answer

    def _send(self, request: Request, token: Secret, exchange: HttpExchange) -> HttpAnswer:
        self.check_open()
        started = time.monotonic()
        outcome: object = "no answer"
        try:
            answer = self._session.exchange(
                request.operation.method,
                request.path,
                {**request.headers, "Authorization": token.as_header("Bearer ")},
                request.body,
                exchange,
            )
            outcome = answer.status
        finally:
            logger.debug("%s: %s after %.1f ms", request.name, outcome, (time.monotonic() - started) * 1000)
        return answer

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client is not pickled: create one in the process that uses it")


def _query(parameters: Mapping[str, Any]) -> str:
    given = {name: value for name, value in parameters.items() if value not in (None, [])}
    return f"?{urlencode(given, doseq=True)}" if given else ""


def _fixed_headers(settings: Settings) -> dict[str, str]:
    optional = {
        "X-Parent-Billing-Txn-Id": settings.parent_billing_txn_id,
        "X-Lifecycle-Event": settings.lifecycle_event,
    }
    return {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": f"flow-client/{flow_client.__version__} python/{sys.version.split()[0]}",
        **{name: value for name, value in optional.items() if value},
    }


def _checked_key(key: object) -> str:
    is_text = isinstance(key, str) and key.isascii() and key.isprintable()
    # HTTP drops white space around a header's value, so the platform would see a different key.
    if isinstance(key, str) and is_text and key == key.strip() and 0 < len(key) <= _MAX_KEY_LENGTH:
        return key
    raise InvalidRequestError(
        f"idempotency_key is {shown(key)}; it must be a string of 1 to {_MAX_KEY_LENGTH} printable ASCII characters "
        "without white space around them, or None for a new one"
    )


def _parse(request: Request, answer: HttpAnswer) -> Any:
    """Return the answer in the operation's type."""
    kind: Any = request.operation.answer
    try:
        value = _content(kind, answer)
        if isinstance(kind, Model):
            return kind.type.model_validate(value)
    except ValidationError as error:
        raise _broken_answer(request, answer, request_body.describe(error)) from error
    except ValueError as error:
        raise _broken_answer(request, answer, f"it is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise _broken_answer(request, answer, f"it is not a JSON object but {type(value).__name__}")
    return value


def _content(kind: Any, answer: HttpAnswer) -> Any:
    """Return the JSON value of the body, or its text if the model takes text."""
    try:
        # No body means the same as null.
        return jsontext.decode(answer.content) if answer.content else None
    except ValueError:
        if isinstance(kind, Model) and kind.type.takes_text:
            return answer.content.decode("utf-8", "replace")
        raise


def _broken_answer(request: Request, answer: HttpAnswer, what: str) -> PlatformResponseError:
    return PlatformResponseError(
        f"{request.name}: the answer with status {answer.status} does not match the specification: {what}",
        status_code=answer.status,
        request_id=answer.headers.get("X-Request-Id"),
    )


def _status_error(request: Request, answer: HttpAnswer) -> PlatformStatusError:
    server_error = PlatformServerError if answer.status >= _FIRST_SERVER_ERROR else PlatformStatusError
    kind = _STATUS_ERRORS.get(answer.status, server_error)
    detail = _detail(answer)
    said = f": {_shown(detail)}" if detail not in (None, "") else ""
    if 300 <= answer.status < 400:  # noqa: PLR2004 - the class of redirects, RFC 9110 §15.4
        said = f": redirects are not followed (to {answer.headers.get('Location')!r}); fix base_url"
    return kind(
        f"{request.name}: {answer.status}{said}",
        status_code=answer.status,
        detail=detail,
        request_id=answer.headers.get("X-Request-Id"),
        retry_after=retry_after_seconds(answer.headers.get("Retry-After"), answer.headers.get("Date")),
        idempotency_key=request.idempotency_key,
    )


def _detail(answer: HttpAnswer) -> Any:
    """Return the message in an error's body: `detail`, the title of RFC 9457, or the whole body."""
    try:
        body = jsontext.decode(answer.content)
    except ValueError:
        return answer.content.decode("utf-8", "replace").strip() or None
    if isinstance(body, dict):
        return body.get("detail") or body.get("title") or body
    return body


def _shown(detail: Any) -> str:
    """Return `detail` in one line; of FastAPI's validation errors, each place and message."""
    if isinstance(detail, list) and all(isinstance(each, dict) and "msg" in each for each in detail):
        return "; ".join(f"{'.'.join(map(str, each.get('loc', ())))}: {each['msg']}" for each in detail)
    return str(detail)[:_MAX_DETAIL]
