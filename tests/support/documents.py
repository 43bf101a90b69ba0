"""The fenced blocks of the project's documents, for the tests that run them."""

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


FEW = ("README.md", "LICENSE", "docs/design.md")


def documents():
    """Return the names of all documents."""
    return [str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "LICENSE"]]


def copied(folder, names=FEW):
    """Return `folder` with documents and the examples in it, which nobody edits while a test counts their words.

    Each document is an execution for the examples, so a few are enough for most tests.
    """
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "docs").mkdir()
    for name in names:
        shutil.copy(ROOT / name, folder / name)
    return folder


@dataclass(frozen=True)
class Block:
    """A fenced block of a document. Its first line may name a file: `# components.py`."""

    language: str
    text: str

    @property
    def file(self):
        named = re.match(r"# (\S+\.(?:py|toml))\n", self.text)
        return named and named[1]

    @property
    def commands(self):
        return [shlex.split(line, comments=True) for line in self.text.splitlines()]


def blocks_of(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def starts_of(document, known):
    """Return the starts of a document's blocks, each as long as its counterpart in `known`, which has one for each."""
    return [block.text[: len(start)] for block, start in zip(blocks_of(document), known, strict=True)]


def find(blocks, start):
    """Return the one block that begins like this."""
    (block,) = (block for block in blocks if block.text.startswith(start))
    return block
