"""The command line: write the generated modules, or show how they differ from the spec."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from codegen import render, spec

DEFAULT_SPEC = render.ROOT / "openapi.yaml"
DEFAULT_OUTPUT = render.ROOT / "flow_client" / "_generated"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; with --check 1 when what is generated is not what stands there; 2 for an unusable spec."""
    options = _parser().parse_args(arguments)
    try:
        texts = render.modules(spec.read(options.spec), Path(options.spec).name)
    except (spec.SpecError, OSError) as error:
        print(f"codegen: {error}", file=sys.stderr)
        return 2
    return _check(texts, options.output) if options.check else _write(texts, options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; print a diff and exit 1 on drift")
    parser.add_argument("--spec", default=str(DEFAULT_SPEC), metavar="URL-or-FILE", help="default: openapi.yaml")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, metavar="FOLDER", help="default: %(default)s")
    return parser


def _write(texts: dict[str, str], output: Path) -> int:
    output.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (output / name).write_text(text, encoding="utf-8")
        print(f"codegen: wrote {output / name}")
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
            tofile="generated from the spec",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
