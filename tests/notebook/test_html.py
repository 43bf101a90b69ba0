"""What a notebook shows of executions and errors: escaped, bounded, readable on light and dark pages."""

import pickle
import re
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest

from flow_client import PlatformClient, _notebook, errors
from flow_client._core.secret import Secret
from flow_client.executions import ExecutionHandle
from flow_client.models import ExecutionAccepted, ExecutionRecord

EVIL = "<script>alert('\"&amp;')</script>"
T0 = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


class Page(HTMLParser):
    """What a browser makes of it: the text, the elements, and which of them are open."""

    def __init__(self, source):
        super().__init__()
        self.source, self.text, self.tags, self.folded = source, "", set(), []
        self._open = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self._open.append(tag)
        if tag == "details":
            self.folded.append("open" not in dict(attributes))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page_of(value):
    return Page(value._repr_html_())


def record(status="completed", **fields):
    return ExecutionRecord(execution_id="e-1", status=status, **fields)


CANARY = "canary-7f3a"
# Nobody answers there: a handle that asked would fail.
CLIENT = PlatformClient("http://127.0.0.1:9", CANARY, "org-1", "ws-1", max_attempts=1)


def handle(status=None, execution_id="e-1", **fields):
    accepted = None if status is None else ExecutionAccepted(execution_id=execution_id, status=status)
    return ExecutionHandle(CLIENT, execution_id, accepted, **fields)


COLOURS = {
    "completed": _notebook.GREEN,
    "COMPLETED": _notebook.GREEN,
    "failed": _notebook.RED,
    "Timeout": _notebook.RED,
    "dead_letter": _notebook.RED,
    "cancelled": _notebook.GREY,
    "running": _notebook.BLUE,
    "pending": _notebook.BLUE,
    "queued": _notebook.BLUE,
    "some_day": _notebook.BLUE,
}


@pytest.mark.parametrize("status", COLOURS)
@pytest.mark.parametrize("make", [record, handle])
def test_a_status_has_its_colour(make, status):
    page = page_of(make(status))
    colours = (_notebook.GREEN, _notebook.RED, _notebook.GREY, _notebook.BLUE)
    shown = {colour for colour in colours if colour in page.source}
    assert shown == {COLOURS[status]}
    assert status in page.text


def luminance(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colour", [_notebook.GREEN, _notebook.RED, _notebook.GREY, _notebook.BLUE])
def test_a_colour_can_be_read_and_stands_out_from_light_and_dark_pages(colour):
    """WCAG 2: 4.5 for text, 3 for what is no text."""
    assert contrast(colour, "#ffffff") >= 4.5
    assert contrast(colour, "#111111") >= 3


def test_only_badges_set_the_colour_of_their_text():
    page = page_of(record("failed", error={"type": "E", "message": "m", "traceback": "t\n" * 50}, output=[1]))
    assert re.findall(r"[^-]color:([^;\"]*)", page.source) == ["#fff"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.34, "340 ms"), (1.24, "1.2 s"), (59.0, "59.0 s"), (125, "2 min 5 s"), (11_520, "3 h 12 min")],
)
def test_durations_are_said_as_a_person_says_them(seconds, said):
    times = {"created_at": T0, "started_at": T0, "finished_at": T0 + timedelta(seconds=seconds)}
    assert f"ran {said}" in page_of(record(**times)).text


def test_times_are_shown_as_far_as_they_are_known():
    texts = [
        page_of(record("x", **times)).text
        for times in (
            {},
            {"created_at": T0},
            {"created_at": T0, "started_at": T0 + timedelta(seconds=2)},
            {"created_at": T0, "finished_at": T0 + timedelta(seconds=3)},
            {"created_at": T0.replace(tzinfo=None), "started_at": T0.astimezone(timezone(timedelta(hours=5)))},
            {"created_at": T0, "started_at": T0 - timedelta(seconds=1)},
        )
    ]
    assert "2026" not in texts[0]
    assert "created 2026-11-23 12:00:00 UTC" in texts[1]
    assert "waited 2.0 s" in texts[2]
    assert "started 2026-11-23 12:00:02 UTC" in texts[2]
    assert "took 3.0 s" in texts[3]
    assert "waited 0 ms" in texts[4]
    assert "started 2026-11-23 12:00:00 UTC" in texts[4]
    assert "waited" not in texts[5]


@pytest.mark.parametrize("hours", [0, 5, -5])
def test_a_time_that_stands_for_none_is_not_shown(hours):
    zero = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=hours)))
    assert "finished" not in page_of(record(finished_at=zero)).text


def test_a_short_value_stands_beside_its_name():
    page = page_of(record(output={"a": [1, True, None, "ä"]}, usage={"tokens": 7}, state={}))
    for part in ('output {"a": [1, true, null, "ä"]}', 'usage {"tokens": 7}', "state {}"):
        assert part in page.text
    assert page.folded == []
    assert "output 6" in page_of(record(output=6)).text


def test_a_longer_value_is_indented_and_folded_if_it_has_many_lines_or_is_no_result():
    page = page_of(record(output={"a": ["ä", 1] * 3, "b": "b" * 100}, state={"c": "c" * 100}))
    assert '{\n  "a": [\n    "ä",\n    1,\n' in page.text
    assert "output (2)" in page.text
    assert page.folded == [False, True]
    assert page_of(record(output=list(range(100)))).folded == [True]
    assert page_of(record(output="to be\nor not to be")).folded == [False]


def test_a_workers_error_shows_its_traceback_folded():
    page = page_of(record("failed", error={"type": "KeyError", "message": "'text'", "traceback": "line 1\nline 2"}))
    assert "error KeyError: 'text'" in page.text
    assert "line 1\nline 2" in page.text
    assert page.folded == [True]
    for error in ("out of memory", {"code": 7}, ["one", "two"]):
        assert "error" in page_of(record("failed", error=error)).text


def test_fields_that_the_model_does_not_know_are_shown():
    assert '"queue": 7' in page_of(record(queue=7)).text


@pytest.mark.parametrize("kind", ["text", "JSON"])
def test_a_huge_output_is_cut(kind):
    huge = "x" * 5_000_000 if kind == "text" else [{"number": n} for n in range(500_000)]
    page = page_of(record(output=huge))
    assert "cut after 20,000 characters" in page.text
    assert len(page.source) < 30_000
    assert page.folded == [kind == "JSON"]


EVIL_VALUES = [
    record(EVIL),
    ExecutionRecord(execution_id=EVIL, status="failed", error=EVIL),
    record(error={"type": EVIL, "message": EVIL, "traceback": f"{EVIL}\n{EVIL}", EVIL: EVIL}),
    record(output=EVIL),
    record(output=f"{EVIL}\n{EVIL}"),
    record(output={EVIL: [EVIL, {EVIL: EVIL}]}, messages=[EVIL] * 9, usage={EVIL: EVIL}, **{EVIL: EVIL}),
    handle(EVIL, EVIL, idempotency_key=EVIL),
    errors.InvalidRequestError(EVIL, execution_id=EVIL, idempotency_key=EVIL, request_id=EVIL),
    errors.PlatformNotFoundError("no", status_code=404, detail={"detail": [EVIL]}),
    errors.PlatformNotFoundError("no", status_code=404, detail=EVIL),
    errors.ExecutionWaitTimeout("no", last_status=EVIL),
    errors.PlatformExecutionError(EVIL, record=record(EVIL, output=EVIL, error=[EVIL])),
    errors.MalformedInputError(EVIL, raw=EVIL.encode() * 9),
]


@pytest.mark.parametrize("value", EVIL_VALUES)
def test_whatever_a_value_says_it_is_shown_as_text(value):
    page = page_of(value)
    assert page.tags <= {"div", "span", "strong", "code", "details", "summary", "pre"}
    assert "<script>" in page.text
    assert "<script" not in page.source


ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_shows_its_name_what_it_says_and_what_it_knows(kind):
    page = page_of(kind("it broke", execution_id="e-7", idempotency_key="k-7", attempts=3, elapsed=2.5))
    assert page.text.startswith(kind.__name__)
    for part in ("it broke", "execution id e-7", "idempotency key k-7", "attempts 3", "elapsed 2.5 s"):
        assert part in page.text


def test_an_error_shows_its_record_its_detail_and_the_bytes_it_could_not_read():
    failed = errors.PlatformExecutionError("it ended", record=record("dead_letter", output=[1], error="out of memory"))
    assert "Execution e-1" in page_of(failed).text
    assert "out of memory" in page_of(failed).text
    refused = errors.PlatformBadRequestError("no", status_code=422, detail=[{"loc": ["body", "a"]}], retry_after=90.0)
    for part in ("status code 422", "retry after 1 min 30 s", '"loc"'):
        assert part in page_of(refused).text
    assert "raw {\ufffd" in page_of(errors.MalformedInputError("no", raw=b"{\xff")).text


def test_a_long_message_is_cut():
    assert len(page_of(errors.PlatformResponseError("x" * 1_000_000)).source) < 3_000


def test_text_that_cannot_be_sent_to_a_notebook_is_replaced():
    page_of(record(output="\ud800")).source.encode()


def test_a_handle_shows_what_it_knows_and_where_it_knows_it_from():
    submitted = page_of(handle("pending", idempotency_key="mine")).text
    for part in (
        "Execution e-1",
        "pending",
        "when submitted",
        "idempotency key mine",
        "workspace id ws-1",
        "http://127.0.0.1:9",
    ):
        assert part in submitted
    assert "when" not in page_of(handle()).text
    detached = pickle.loads(pickle.dumps(handle("pending")))
    assert "pending" in page_of(detached).text


def test_a_token_is_not_shown():
    assert CANARY not in page_of(handle("pending")).source
    page = page_of(errors.PlatformClientError("x", request_id=Secret(CANARY)))
    assert CANARY not in page.source
    assert "request id ***" in page.text


def test_plain_reprs_stay():
    assert repr(handle("pending")) == "ExecutionHandle('e-1')"
    assert repr(record()).startswith("ExecutionRecord(execution_id='e-1'")
    assert repr(errors.PlatformClientError("x")) == "PlatformClientError('x')"
