"""One `flow-client map`."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from flow_client.cli import exits, interrupts, report
from flow_client.cli.batch import lines
from flow_client.cli.batch.results import SCHEMA, ResultsFile, ResultsStream
from flow_client.cli.connection import connected
from flow_client.cli.kinds import submit_method
from flow_client.cli.output import is_terminal, json_text
from flow_client.errors import InvalidRequestError, PlatformBadRequestError, PlatformStatusError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._batch.counts import Batch
    from flow_client.cli.batch.lines import InputLine
    from flow_client.cli.options import Options
    from flow_client.client import PlatformClient
    from flow_client.executions import ExecutionHandle
    from flow_client.models import ExecutionRecord

REPORT_SECONDS = 10.0
"""Seconds between two lines about the progress, where there is no terminal for a bar."""
_REFUSED = "refused"
_TOO_LARGE = 413
_REUSED_KEY = (400, 409, 422)


class Job:
    """Runs the inputs that have no result yet, and writes what comes of them.

    Args:
        options: the common options.
        kind: the kind of the component.
        component_id: the component.
        inputs: the file of the inputs, `-` for standard input.
        out: the file of the results, `-` for standard output.
        key: names the batch.
        max_in_flight: how many executions run at a time.
        retry_failed: whether what did not complete in an earlier run is run again.
        submission: further arguments of the submissions.
    """

    def __init__(
        self,
        options: Options,
        *,
        kind: str,
        component_id: str,
        inputs: str,
        out: str,
        key: str,
        max_in_flight: int,
        retry_failed: bool,
        time_limit: float | None,
        **submission: Any,
    ) -> None:
        self._options = options
        self._output = options.output()
        self._component = f"{kind} {component_id}"
        self._submit = partial(_submit, kind, component_id, {**submission, "timeout_seconds": time_limit})
        self._inputs = inputs
        self._out = out
        self._key = key
        self._max_in_flight = max_in_flight
        self._retry_failed = retry_failed
        self._total: int | None = None
        self._wanted_count: int | None = None
        self._codes = {exits.COMPLETED}
        self._written = 0
        self._started = self._reported = time.monotonic()

    def run(self) -> int:
        """Return the exit code: that of the worst result."""
        self._total = lines.count(self._inputs)
        with self._results() as results, connected(self._options) as client:
            self._take_in(results)
            with interrupts.explained(self._output, f"interrupted; {self._how_to_go_on}"):
                self._run(client, results)
        return exits.worst(self._codes)

    @property
    def _how_to_go_on(self) -> str:
        return "what was submitted goes on, and the same command takes it up again"

    def _results(self) -> ResultsFile | ResultsStream:
        if self._out == "-":
            return ResultsStream(self._output)
        return ResultsFile(self._out, retry_failed=self._retry_failed)

    def _take_in(self, results: ResultsFile | ResultsStream) -> None:
        """Count the results of earlier runs that stay as they are."""
        statuses = [kept.status for position, kept in enumerate(results.kept) if not results.is_wanted(position)]
        self._codes |= {_code_of(status) for status in statuses}
        if statuses:
            self._output.note(f"{len(statuses)} results of an earlier run are in {self._out}")

    def _run(self, client: PlatformClient, results: ResultsFile | ResultsStream) -> None:
        self._wanted_count = self._count_wanted(results)
        batch: Batch[Any] = client.map(
            partial(self._submit, client),
            _Remaining(self._wanted(results), self._wanted_count),
            key=self._key_of,
            return_exceptions=True,
            with_inputs=True,
            progress=self._has_bar,
            max_in_flight=self._max_in_flight,
            retry_failed=self._retry_failed,
        )
        for line, outcome in batch:
            results.write(line.position, self._result(line, outcome))
            self._written += 1
            self._report()
        results.complete()
        self._output.note(f"map: {batch.counts}")

    def _key_of(self, line: InputLine) -> str:
        return f"{self._key}\n{line.position}"

    def _wanted(self, results: ResultsFile | ResultsStream) -> Iterator[InputLine]:
        """Yield the inputs that are to be run; the others are those that an earlier run had."""
        position = -1
        for line in lines.read(self._inputs):
            position = line.position
            if position < len(results.kept):
                self._check_kept(results, line)
            if results.is_wanted(position):
                yield line
        if position + 1 < len(results.kept):
            raise InvalidRequestError(
                f"{self._out} has results for {len(results.kept)} inputs, but there are {position + 1}: "
                "name another file with --out"
            )

    def _check_kept(self, results: ResultsFile | ResultsStream, line: InputLine) -> None:
        kept = results.kept[line.position]
        if kept.key != self._key:
            raise InvalidRequestError(
                f"{self._out} was written with --key {kept.key}, not {self._key}: name another file with --out"
            )
        if kept.digest != self._digest_of(line):
            raise InvalidRequestError(
                f"line {line.position + 1} of {self._out} is the result of another input or component: "
                "what an earlier run has done was changed; use another --key and another --out"
            )

    def _digest_of(self, line: InputLine) -> str:
        return f"{self._component} {line.digest}"

    def _count_wanted(self, results: ResultsFile | ResultsStream) -> int | None:
        if self._total is None:
            return None
        return sum(results.is_wanted(position) for position in range(self._total))

    def _result(self, line: InputLine, outcome: ExecutionRecord | Exception) -> str:
        """Return the line of an input's result.

        Raises:
            Exception: what came is not the input's fault: the same command can take it up later.
        """
        if isinstance(outcome, Exception):
            if not _is_of_the_input(outcome):
                raise self._end(line, outcome)
            error = {"type": type(outcome).__name__, "message": str(outcome)}
            fields: dict[str, Any] = {"status": _REFUSED, "output": None, "error": error, "execution_id": None}
            durations: dict[str, float | None] = {"waited_seconds": None, "ran_seconds": None}
        else:
            fields = {"status": outcome.status.lower(), "output": outcome.output, "error": outcome.error}
            fields["execution_id"] = outcome.execution_id
            durations = report.durations_of(outcome)
        self._codes.add(_code_of(fields["status"]))
        place = {"key": self._key, "digest": self._digest_of(line)}
        return json_text({"$schema": SCHEMA, "position": line.position, **fields, **durations, **place})

    def _end(self, line: InputLine, error: Exception) -> Exception:
        """Return the error that ends the map, and say how to go on."""
        if isinstance(error, PlatformStatusError) and _says_key_was_reused(error):
            message = "an earlier run with this --key has submitted something else for it: use another --key"
            return InvalidRequestError(f"input {line.position}: {message} ({error.detail})")
        self._output.note(f"the map ends after {self._written} results; {self._how_to_go_on}", is_important=True)
        return error

    @property
    def _has_bar(self) -> bool:
        return is_terminal(sys.stderr) and not self._options.is_quiet

    def _report(self) -> None:
        """Say now and then how far it is, unless a bar does."""
        now = time.monotonic()
        if self._has_bar or now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        rate = self._written / (now - self._started)
        self._output.note(f"map: {progress_line(self._written, self._wanted_count, rate)}")


def progress_line(written: int, wanted: int | None, rate: float) -> str:
    """Return how far it is, at which rate in results a second, and the time that is left if that is known."""
    if wanted is None:
        return f"{written} results, {rate:.1f}/s"
    return f"{written} of {wanted} results, {rate:.1f}/s, {(wanted - written) / rate:.0f} s left"


class _Remaining:
    """The inputs that are to be run; it has a length if that is known, for the bar's estimate."""

    def __init__(self, wanted: Iterator[InputLine], count: int | None) -> None:
        self._wanted = wanted
        self._count = count

    def __iter__(self) -> Iterator[InputLine]:
        return self._wanted

    def __len__(self) -> int:
        if self._count is None:
            raise TypeError("how many there are is not known")
        return self._count


def _submit(
    kind: str,
    component_id: str,
    options: dict[str, Any],
    client: PlatformClient,
    line: InputLine,
    *,
    idempotency_key: str,
) -> ExecutionHandle:
    return submit_method(client, kind)(component_id, line.value, idempotency_key=idempotency_key, **options)


def _is_of_the_input(error: Exception) -> bool:
    """Return whether the platform, or the client, refuses this input: no other input and no later try would help it."""
    if isinstance(error, PlatformBadRequestError):
        return not _says_key_was_reused(error)
    return isinstance(error, InvalidRequestError) or getattr(error, "status_code", None) == _TOO_LARGE


def _says_key_was_reused(error: PlatformStatusError) -> bool:
    return error.status_code in _REUSED_KEY and "idempotency" in f"{error.detail}".lower()


def _code_of(status: str) -> int:
    return exits.USAGE if status == _REFUSED else exits.of_status(status)
