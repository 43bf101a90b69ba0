"""Run a notebook in a kernel of its own and write it down with its outputs: SOURCE FOLDER TARGET."""

from __future__ import annotations

import sys

import nbformat
from nbclient import NotebookClient


def main(source: str, folder: str, target: str) -> None:
    notebook = nbformat.read(source, as_version=4)
    where = {"metadata": {"path": folder}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=where, coalesce_streams=True).execute()
    nbformat.write(notebook, target)


main(*sys.argv[1:])
