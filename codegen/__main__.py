"""Generate the client's modules from openapi.yaml, or refresh openapi.yaml from a live platform first."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from codegen import changes, reading, render, report, spec
from codegen.document import SpecError
from codegen.refresh import refresh

DEFAULT_LOCK = render.ROOT / "openapi.yaml"
DEFAULT_OUTPUT = render.ROOT / "flow_client"
DEFAULT_OVERLAY = Path(__file__).parent / "overlay.yaml"

EXIT_CODES = """\
Exit code: 0 done, or nothing changed; with --check 1 when the generated modules differ from the lock or the platform's
changes are compatible, 2 when a change of the platform can break a caller; 3 when the specification cannot be used.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _refresh(options) if options.spec else _generate(options)
    except SpecError as error:
        print(f"codegen: {error}", file=sys.stderr)
        return 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__, epilog=EXIT_CODES)
    parser.add_argument("--check", action="store_true", help="write nothing; show what differs")
    parser.add_argument("--spec", metavar="URL-or-FILE", help="a platform's specification, to refresh the lock from")
    parser.add_argument("--json", action="store_true", help="with --spec: report as JSON")
    parser.add_argument(
        "--header", action="append", type=_header, default=[], metavar="'NAME: VALUE'", help="sent with the request"
    )
    parser.add_argument("--lock", type=Path, default=DEFAULT_LOCK, metavar="FILE", help="default: openapi.yaml")
    parser.add_argument("--overlay", type=Path, default=DEFAULT_OVERLAY, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, metavar="PACKAGE", help="default: %(default)s")
    return parser


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{name!r} is not a header; write 'Name: value'")
    return name.strip(), value.strip()


def _generate(options: argparse.Namespace) -> int:
    """Write the modules from the lock as it is, or show how they differ from it."""
    document = reading.read(str(options.lock))
    texts = render.modules(document, options.lock.name)
    for each in spec.warnings(document):
        print(f"codegen: {each}", file=sys.stderr)
    return _check(texts, options.output) if options.check else _write(texts, options.output)


def _refresh(options: argparse.Namespace) -> int:
    """Report what changed on the platform; unless it is a check, write the lock and the modules."""
    present = reading.read(str(options.lock))
    live = reading.read(options.spec, dict(options.header))
    new = refresh(live, present, options.overlay)
    found = changes.compare(present, new.document)
    texts = {} if options.check else render.modules(new.document, options.lock.name)
    notes = [*new.notes, *spec.warnings(new.document)]
    if not found and options.lock.read_text(encoding="utf-8") != new.text:
        notes.append(f"{options.lock.name} says the same in another form; a refresh writes it anew")
    title = report.title(live)
    print(report.as_json(title, found, notes) if options.json else report.as_text(title, found, notes))
    if options.check:
        return report.exit_code(found)
    options.lock.write_text(new.text, encoding="utf-8")
    print(f"codegen: wrote {options.lock}", file=sys.stderr)
    return _write(texts, options.output)


def _write(texts: dict[str, str], output: Path) -> int:
    for name, text in texts.items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"codegen: wrote {path}", file=sys.stderr)
    return 0


def _check(texts: dict[str, str], output: Path) -> int:
    drift = [line for name, text in texts.items() for line in _diff(output / name, text)]
    sys.stdout.writelines(drift)
    if drift:
        print("codegen: the generated modules are not up to date; run `make codegen`", file=sys.stderr)
    return 1 if drift else 0


def _diff(path: Path, text: str) -> list[str]:
    present = path.read_text(encoding="utf-8") if path.exists() else ""
    return list(
        difflib.unified_diff(
            present.splitlines(keepends=True),
            text.splitlines(keepends=True),
            fromfile=str(path),
            tofile="generated from the lock",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
