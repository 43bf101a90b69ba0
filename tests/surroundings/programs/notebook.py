"""A notebook with the client in its cells, run in a Jupyter kernel."""

from __future__ import annotations

import nbformat
from answers import report
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

CELLS = (
    "import asyncio; asyncio.get_running_loop().is_running()",
    "from flow_client import PlatformClient; client = PlatformClient()",
    "client.get_execution_status('notebook-1').output",
    "client.execution('notebook-2').result(timeout=10)",
    "await asyncio.to_thread(lambda: client.get_execution_status('notebook-3').output)",
)


def main() -> None:
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=30, kernel_name="python3").execute()
    report([output["data"]["text/plain"] for cell in notebook.cells for output in cell.outputs])


main()
