"""Writes `llms.txt` (https://llmstxt.org): each page of the site with a link to its Markdown, in the site's order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("llms_txt_summary", "", "html", str)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        text = "\n".join([f"# {app.config.project}", "", f"> {app.config.llms_txt_summary}", *lines(app)])
        Path(app.outdir, "llms.txt").write_text(f"{text}\n", encoding="utf-8")


def lines(app: Sphinx) -> Iterator[str]:
    for tree in app.env.get_doctree(app.config.root_doc).findall(addnodes.toctree):
        yield from ("", f"## {tree['caption']}", "")
        for _, page in tree["entries"]:
            suffix = Path(app.env.doc2path(page)).suffix + app.config.html_sourcelink_suffix
            yield f"- [{app.env.titles[page].astext()}](_sources/{page}{suffix})"
