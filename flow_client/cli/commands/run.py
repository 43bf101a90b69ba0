"""`flow-client run`: submit a component's execution, wait for its end, and print what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flow_client.cli import exits
from flow_client.cli.command import command as declare
from flow_client.cli.inputs import JsonObject, JsonValue, Seconds
from flow_client.cli.kinds import KINDS, submit_method

if TYPE_CHECKING:
    from flow_client.cli.options import Options
    from flow_client.cli.output import Output
    from flow_client.client import PlatformClient
    from flow_client.executions import ExecutionHandle


@declare(
    "run",
    examples=[
        (
            "Run a code block and print its output:",
            """flow-client run code-block count-words --input '{"text": "to be"}'""",
        ),
        (
            "Take the input from a file, and show the events:",
            "flow-client run agent answer --input @input.json --watch",
        ),
        ("Submit, and wait later:", "id=$(flow-client run workflow echo --detach) && flow-client wait $id"),
        (
            "Run a transform on what another program prints:",
            "echo '[1, 2, 3]' | flow-client run transform total --input -",
        ),
    ],
)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("component_id", metavar="ID")
@click.option("--input", "input_data", type=JsonValue(), default="{}", help="The input; {} by default.")
@click.option("--config", type=JsonObject(), help="Settings for this execution that the component can read.")
@click.option("--ring", "ring_id", metavar="ID", help="The ring whose runners execute it; RING_ID by default.")
@click.option("--watch", is_flag=True, help="Show the events while it runs; needs NATS.")
@click.option("--detach", is_flag=True, help="Print the execution's id and do not wait.")
@click.option("--timeout", type=Seconds(zero=True), metavar="SECONDS", help="Wait no longer; the execution goes on.")
@click.option(
    "--time-limit", type=Seconds(), metavar="SECONDS", help="The platform ends it after this time; 300 by default."
)
@click.option("--idempotency-key", metavar="KEY", help="Submitting again with the same key starts no second execution.")
def command(
    options: Options,
    kind: str,
    component_id: str,
    watch: bool,  # noqa: FBT001 - an option
    detach: bool,  # noqa: FBT001 - an option
    timeout: float | None,
    idempotency_key: str | None,
    **submission: Any,
) -> int:
    """Run a component and print its output.

    The exit code says how the execution ended. After Ctrl-C and after --timeout it goes on.
    """
    from flow_client.cli.connection import connected

    output = options.output()
    key = idempotency_key or _new_key()
    with connected(options) as client:
        if kind == "transform":
            _refuse(watch=watch, detach=detach, **submission)
            return _run_transform(output, client, component_id, submission["input_data"], key)
        handle = _submit(output, client, kind, component_id, key, **submission)
        if detach:
            return _print_id(output, handle)
        output.note(f"execution {handle.execution_id} was submitted")
        return _follow(options, output, client, handle, timeout, watch=watch)


def _new_key() -> str:
    import uuid

    return str(uuid.uuid4())


def _refuse(**options: Any) -> None:
    given = [name for name in ("watch", "detach", "config", "ring_id", "time_limit") if options[name]]
    if given:
        name = f"--{given[0].removesuffix('_id').replace('_', '-')}"
        raise click.UsageError(f"{name} is not for a transform: it runs at once, in one request, and is no execution")


def _run_transform(output: Output, client: PlatformClient, transform_id: str, input_data: Any, key: str) -> int:
    from flow_client.cli import interrupts
    from flow_client.errors import PlatformBadRequestError

    again = f"interrupted; with --idempotency-key {key} the transform does not run a second time"
    try:
        with interrupts.explained(output, again):
            result = client.execute_transform(transform_id, input_data, None, idempotency_key=key)
    except PlatformBadRequestError as error:
        if not (isinstance(error.detail, dict) and "execution_id" in error.detail):
            raise
        output.error(str(error))
        return exits.FAILED
    if output.is_json:
        output.json("result", {"output": result})
    else:
        output.value(result)
    return exits.COMPLETED


def _submit(
    output: Output,
    client: PlatformClient,
    kind: str,
    component_id: str,
    key: str,
    *,
    input_data: Any,
    config: Any,
    ring_id: str | None,
    time_limit: float | None,
) -> ExecutionHandle:
    from flow_client.cli import interrupts
    from flow_client.errors import PlatformConnectionError

    submit = submit_method(client, kind)
    again = f"it may have been submitted: with --idempotency-key {key} it runs only once"
    try:
        with interrupts.explained(output, f"interrupted; {again}"):
            return submit(
                component_id, input_data, config, ring_id=ring_id, timeout_seconds=time_limit, idempotency_key=key
            )
    except PlatformConnectionError as error:
        if error.request_sent:
            output.note(again, is_important=True)
        raise


def _print_id(output: Output, handle: ExecutionHandle) -> int:
    if output.is_json:
        output.json("submission", {**handle, "idempotency_key": handle.idempotency_key})
    else:
        output.text(handle.execution_id)
    return exits.COMPLETED


def _follow(
    options: Options,
    output: Output,
    client: PlatformClient,
    handle: ExecutionHandle,
    timeout: float | None,
    *,
    watch: bool,
) -> int:
    from flow_client.cli import interrupts, report, waiting, watching
    from flow_client.errors import ExecutionWaitTimeout

    wait = options.command("wait", handle.execution_id)
    with interrupts.explained(
        output, f"interrupted; execution {handle.execution_id} goes on. To wait for it again: {wait}"
    ):
        try:
            record = (
                watching.ended(output, client, handle, timeout)
                if watch
                else waiting.ended(client, handle.execution_id, timeout)
            )
        except ExecutionWaitTimeout as error:
            output.error(f"{error}. To wait for it again: {wait}")
            return exits.TIMED_OUT
    return report.print_result(output, record)
