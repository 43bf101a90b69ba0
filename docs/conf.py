"""How Sphinx builds the documentation site: `make docs`.

The sources are the pages of the repository as they are, those in its root too, so that a link works here and on GitHub.
"""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # llms_txt

project = "flow-client"
author = "the flow-client developers"
release = version = installed_version(project)

root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/cli/*.md"]
exclude_patterns = ["**/.*", "build", "dist"]
templates_path = ["templates"]
html_additional_pages = {"index": "start.html"}

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid", "llms_txt"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
default_role = "code"  # a single backtick in a docstring is code, as in Markdown
nitpick_ignore_regex = [("py:class", ".*")]  # types of signatures: most are no part of the site
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"flow-client {release}"
llms_txt_summary = "A synchronous Python client for the Flow execution platform: plain blocking calls, no asyncio."
