"""`map`: a file of inputs becomes a file of results, however often it is killed on the way."""

import json
import random
import re
import shutil
import signal
import subprocess
import uuid

import pexpect
import pytest
from support.command_line import PROGRAM, SECONDS, environment, flow, json_lines, start
from support.http import Answer
from support.size import few

from flow_client.cli import exits
from flow_client.cli.batch.job import progress_line
from flow_client.cli.batch.results import ResultsFile

INPUTS = few(8, of=300)
KILLS = few(4, of=100)


@pytest.fixture
def batch(at_platform, tmp_path):
    return Batch(tmp_path)


@pytest.fixture(scope="module")
def finished(platform, tmp_path_factory):
    """A batch of two inputs that has ended; its files are to be copied."""
    batch = Batch(tmp_path_factory.mktemp("finished"))
    batch.write({"n": 0}, {"n": 1})
    assert batch.run(**platform.environment()).returncode == 0
    return batch


class Batch:
    """A folder with inputs, and a key that no other test has."""

    def __init__(self, folder):
        self.inputs, self.out = folder / "inputs.jsonl", folder / "results.jsonl"
        self.key = str(uuid.uuid4())

    def write(self, *inputs):
        self.inputs.write_text("".join(f"{json.dumps(each)}\n" for each in inputs))

    def arguments(self, component="echo", *more, kind="workflow", out=None, key=None):
        files = ["--inputs", str(self.inputs), "--out", str(out or self.out)]
        return ["map", kind, component, *files, "--key", key or self.key, *more]

    def run(self, *arguments, kind="workflow", out=None, key=None, **variables):
        return flow(*self.arguments(*arguments, kind=kind, out=out, key=key), **variables)

    @property
    def lines(self):
        return json_lines(self.out.read_text())


def test_each_input_has_a_line_in_its_order(batch, started):
    batch.write({"n": 0}, {"n": 1}, {"n": 2})
    done = batch.run()
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 inputs: 3 started, 0 resumed; 3 completed" in done.stderr
    assert [line["position"] for line in batch.lines] == [0, 1, 2]
    assert [line["output"] for line in batch.lines] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert sorted(line["execution_id"] for line in batch.lines) == sorted(started())
    assert all(line["ran_seconds"] > 0 and line["waited_seconds"] >= 0 for line in batch.lines)
    assert {line["$schema"] for line in batch.lines} == {"flow-client/mapped/1"}


def test_run_again_it_starts_nothing_and_leaves_the_file_as_it_is(batch, started):
    batch.write({"n": 0}, {"n": 1})
    assert batch.run().returncode == 0
    before = batch.out.read_bytes()
    done = batch.run()
    assert (done.returncode, batch.out.read_bytes()) == (0, before)
    assert "2 results of an earlier run are in" in done.stderr
    assert len(started()) == 2


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_killed_at_random_moments_the_results_are_those_of_an_undisturbed_run(batch, started):
    chance = random.Random(11)
    batch.write(*({"number": number, "seconds": 0.3} for number in range(INPUTS)))
    command = batch.arguments("echo", "--max-in-flight", "2")
    killed = 0
    while killed < KILLS:
        with start(*command) as program:
            try:
                program.wait(chance.uniform(0.2, 1.2))
                break  # all is done
            except subprocess.TimeoutExpired:
                program.kill()
                killed += 1
    assert killed >= few(1, of=KILLS)
    with start(*command) as program:
        assert program.wait(300) == 0

    undisturbed = batch.out.with_name("undisturbed.jsonl")
    assert batch.run(out=undisturbed).returncode == 0
    assert batch.out.read_bytes() == undisturbed.read_bytes()
    assert [line["output"]["number"] for line in batch.lines] == list(range(INPUTS))
    assert sorted(started()) == sorted(line["execution_id"] for line in batch.lines)


def test_a_torn_last_line_is_written_again(batch, started):
    batch.write({"n": 0}, {"n": 1})
    assert batch.run().returncode == 0
    whole = batch.out.read_bytes()
    batch.out.write_bytes(whole[:-1])
    assert batch.run().returncode == 0
    assert batch.out.read_bytes() == whole
    assert len(started()) == 2


def test_wherever_a_line_is_torn_the_whole_ones_stay(batch):
    first = f"{result(0, 'completed')}\n".encode()
    whole = first + f"{result(1, 'completed')}\n".encode()
    for size in range(len(whole) + 1):
        batch.out.write_bytes(whole[:size])
        with ResultsFile(str(batch.out), retry_failed=False) as results:
            kept = len(results.kept)
        assert batch.out.read_bytes() == (whole if kept == 2 else first if kept == 1 else b"")
        assert kept == (size >= len(first)) + (size == len(whole))


def test_what_fails_counts_and_what_is_refused_has_a_line_too(batch):
    batch.write({"n": 0}, {"n": "x" * 2_000_000}, {"n": 2})
    done = batch.run()
    assert done.returncode == exits.USAGE
    completed, refused, other = batch.lines
    assert (completed["status"], refused["status"], other["status"]) == ("completed", "refused", "completed")
    assert (refused["execution_id"], refused["output"]) == (None, None)
    assert "too large" in refused["error"]["message"]

    failing = batch.run("fail", out=batch.out.with_name("failed.jsonl"), key=f"{batch.key}-f")
    assert failing.returncode == exits.USAGE
    assert flow("map", "workflow", "fail", "--inputs", "-", "--key", f"{batch.key}-g", stdin="{}").returncode == 1


def test_failed_results_are_replaced_and_the_others_stay(batch, started, tmp_path):
    batch.write(*({"number": number, "mended": str(tmp_path / "mended")} for number in range(4)))
    assert batch.run("flaky", kind="code-block").returncode == exits.FAILED
    before = batch.lines
    failed = [line["position"] for line in before if line["status"] == "failed"]
    assert 0 < len(failed) < 4
    assert batch.run("flaky", kind="code-block").returncode == exits.FAILED  # an old failure counts
    (tmp_path / "mended").touch()
    assert batch.run("flaky", "--retry-failed", kind="code-block").returncode == 0
    after = batch.lines
    assert [line["status"] for line in after] == ["completed"] * 4
    assert [line for line in after if line["position"] not in failed] == [
        line for line in before if line["status"] == "completed"
    ]
    assert len(started()) == 4 + len(failed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs.jsonl", "mended", "results.jsonl"]


def test_until_all_failed_results_are_replaced_the_file_has_the_old_ones(batch):
    old = [result(position, "failed" if position == 1 else "completed") for position in range(3)]
    batch.out.write_text("".join(f"{line}\n" for line in old))
    before = batch.out.read_text()
    with ResultsFile(str(batch.out), retry_failed=True) as results:
        assert [results.is_wanted(position) for position in range(4)] == [False, True, False, True]
        results.write(1, result(1, "completed"))
        assert batch.out.read_text() == before
    assert batch.out.read_text() == before
    with ResultsFile(str(batch.out), retry_failed=True) as results:
        results.write(1, result(1, "completed"))
        results.write(3, result(3, "completed"))
        results.complete()
    assert [line["status"] for line in batch.lines] == ["completed"] * 4


def test_a_map_that_has_ended_leaves_the_second_file_to_the_next_one(batch):
    batch.out.write_text(f"{result(0, 'failed')}\n")
    with ResultsFile(str(batch.out), retry_failed=True) as first:
        first.write(0, result(0, "failed"))
        first.complete()
        second = ResultsFile(str(batch.out), retry_failed=True)
    with second:
        second.write(0, result(0, "completed"))
        second.complete()
    assert [line["status"] for line in batch.lines] == ["completed"]


def result(position, status):
    fields = {"$schema": "flow-client/mapped/1", "position": position, "status": status, "key": "k", "digest": "d"}
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda batch: batch.write({"n": 5}, {"n": 1}), "line 1 of .* is the result of another input"),
        (lambda batch: batch.write({"n": 0}), "has results for 2 inputs, but there are 1"),
        (lambda batch: setattr(batch, "key", "other"), "was written with --key"),
        (lambda batch: batch.out.write_text("{}\n"), "line 1 of .* was not written by this command"),
        (lambda batch: batch.inputs.write_text('{"n": 0}\n[1]\n'), "line 2 of .* must be a JSON object"),
        (lambda batch: batch.inputs.write_text('{"n": 0}\n\n{'), "line 3 of .* is not JSON"),
        (lambda batch: batch.inputs.unlink(), "No such file"),
    ],
)
def test_what_does_not_belong_together_is_refused_before_anything_is_sent(batch, finished, started, change, message):
    batch.write({"n": 0}, {"n": 1})
    shutil.copy(finished.out, batch.out)
    batch.key = finished.key
    change(batch)
    before = batch.out.read_text()
    done = batch.run()
    assert done.returncode in (exits.USAGE, exits.IO)
    assert re.search(message, done.stderr), done.stderr
    assert batch.out.read_text() == before
    assert started() == []


def test_one_file_is_written_by_one_process_at_a_time(batch):
    batch.write({"seconds": 600})
    with start(*batch.arguments("sleep", "--verbose")) as first:
        while "executions" not in first.stderr.readline():
            pass
        done = batch.run("sleep")
        first.send_signal(signal.SIGINT)
        assert first.wait(SECONDS) == exits.INTERRUPTED
    assert (done.returncode, "another process is writing to" in done.stderr) == (exits.USAGE, True)


def test_after_ctrl_c_the_same_command_takes_it_up(batch, started):
    batch.write({"seconds": 2}, {"seconds": 2})
    with start(*batch.arguments("sleep", "--verbose")) as program:
        while "executions" not in program.stderr.readline():
            pass
        program.send_signal(signal.SIGINT)
        assert program.wait(SECONDS) == exits.INTERRUPTED
        assert "what was submitted goes on, and the same command takes it up again" in program.stderr.read()
    assert batch.run("sleep").returncode == 0
    assert len(started()) == 2


def test_what_is_no_fault_of_the_input_ends_the_map_and_writes_no_line(batch, http_server):
    batch.write({"n": 0}, {"n": 1})
    http_server.default = Answer(401, {"detail": "expired"})
    done = flow(*batch.arguments(), "--base-url", http_server.url)
    assert (done.returncode, batch.out.read_text()) == (exits.NOT_AUTHORISED, "")
    assert batch.run("there-is-none").returncode == exits.USAGE
    assert batch.out.read_text() == ""
    assert batch.run().returncode == 0


def test_another_input_under_a_key_that_was_used_is_refused(batch, started):
    batch.write({"n": 0})
    assert batch.run().returncode == 0
    batch.write({"n": 1})
    batch.out.unlink()
    done = batch.run()
    assert (done.returncode, batch.out.read_text()) == (exits.USAGE, "")
    assert (
        "input 0: an earlier run with this --key has submitted something else for it: use another --key" in done.stderr
    )
    assert len(started()) == 1


@pytest.mark.parametrize(
    ("wanted", "expected"), [(100, "20 of 100 results, 4.0/s, 20 s left"), (None, "20 results, 4.0/s")]
)
def test_where_there_is_no_terminal_a_line_has_rate_and_estimate(wanted, expected):
    assert progress_line(20, wanted, 4.0) == expected


def test_a_terminal_shows_a_bar_with_rate_and_estimate(batch):
    batch.write(*({"n": number} for number in range(4)))
    shown = pexpect.spawn(
        PROGRAM[0],
        [*PROGRAM[1:], *batch.arguments()],
        env=environment(TERM="xterm"),
        timeout=SECONDS,
        encoding="utf-8",
        dimensions=(24, 120),
    )
    shown.expect(r"\d/4 \[\d\d:\d\d<\d\d:\d\d, .*(it/s|s/it)\]")
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == 0


def test_without_a_file_the_results_are_printed(at_platform):
    given = '{"n": 0}\n{"n": 1}\n'
    done = flow("map", "workflow", "echo", "--inputs", "-", "--key", str(uuid.uuid4()), "--quiet", stdin=given)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line["output"]["n"] for line in json_lines(done.stdout)] == [0, 1]


def test_a_full_disk_is_74_and_the_same_command_goes_on(batch, started):
    batch.write(*({"n": number} for number in range(6)))
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *PROGRAM, *batch.arguments()]  # one KiB
    done = subprocess.run(
        limited,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
    )
    assert (done.returncode, "File too large" in done.stderr) == (exits.IO, True)
    assert batch.out.stat().st_size == 1024
    assert batch.run().returncode == 0
    assert [line["output"]["n"] for line in batch.lines] == list(range(6))
    assert len(started()) == 6
