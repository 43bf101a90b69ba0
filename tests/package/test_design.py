"""The pages that lead through the project name what there is, and their links lead somewhere."""

import ast
import builtins
import collections.abc
import concurrent.futures
import queue
import re
import threading
from functools import cache

import pytest
import requests
import requests.adapters
import tomli
from support.documents import ROOT

GUIDES = ("docs/design.md", "docs/client.md", "docs/reliability.md", "CONTRIBUTING.md")
PAGES = sorted(str(page.relative_to(ROOT)) for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PACKAGE = ROOT / "flow_client"
FOREIGN = (builtins, collections.abc, concurrent.futures, queue, requests, requests.adapters, threading)
QUESTIONS = (
    "Why was this POST sent twice?",
    "Who decides when a future is polled?",
    "What happens to an event when NATS dies?",
)


@cache
def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def quoted(page):
    return re.findall(r"`([^`\n]+)`", text_of(page))


def paths_in(page):
    """Return all that reads as a path of this repository, in the text and in the picture."""
    picture = "\n".join(re.findall(r"^```mermaid\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL))
    shown = re.findall(r"\[\"([\w/]+(?:\.py|/))", picture)
    return [
        *shown,
        *(
            text
            for text in quoted(page)
            if re.fullmatch(r"[\w.][\w./-]*(?:/|\.(?:py|md|toml|yaml|ipynb|png))|tests/\w+", text)
        ),
    ]


def defined_in(body):
    """Return the names that statements define, and the statement of each."""
    names = {}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id: node for target in targets if isinstance(target, ast.Name)}
        names |= {node.name: node} if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) else {}
    return names


@cache
def names_of(file):
    """Return what a module defines, the members of its classes as `Class.member`."""
    names = defined_in(ast.parse(file.read_text(encoding="utf-8")).body)
    classes = [node for node in names.values() if isinstance(node, ast.ClassDef)]
    return {*names, *(f"{each.name}.{member}" for each in classes for member in defined_in(each.body))}


def find(path):
    return next((found for found in (ROOT / path, PACKAGE / path) if found.exists()), None)


@pytest.mark.parametrize("page", GUIDES)
def test_every_path_exists(page):
    assert paths_in(page)
    assert [path for path in paths_in(page) if find(path) is None] == []


@pytest.mark.parametrize("page", GUIDES)
def test_every_name_is_where_the_page_says(page):
    pairs = re.findall(r"`([\w/]+\.py)`: `([\w.]+)`", text_of(page))
    pairs += [(path, name) for name, path in re.findall(r"`([A-Z][\w.]*)`\s(?:in\s|\()`([\w/]+\.py)`", text_of(page))]
    assert [(path, name) for path, name in pairs if name not in names_of(find(path))] == []


def test_every_class_exists():
    ours = set().union(*(names_of(file) for file in PACKAGE.rglob("*.py")))
    classes = {text for text in quoted("docs/design.md") if re.fullmatch(r"[A-Z]\w*[a-z]\w*(?:\.\w+)?", text)}
    foreign = {name for name in classes if any(hasattr(module, name.partition(".")[0]) for module in FOREIGN)}
    assert classes - foreign - ours == set()


def test_the_table_of_layers_is_the_contract():
    contracts = tomli.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    rows = re.findall(r"^\| \d+ \| (.+?) \|", text_of("docs/design.md"), re.MULTILINE)
    layers = [set(re.split(r"\s*[|:]\s*", layer)) for layer in contracts[0]["layers"]]
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == layers


# --- all pages


def anchors_of(page):
    """Return the anchors that GitHub makes of the headings."""
    text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page):
    """Return the page and the anchor that each relative link leads to."""
    found = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text_of(page))
    here = (ROOT / page).parent
    return [(str((here / target).resolve().relative_to(ROOT)) if target else page, anchor) for target, anchor in found]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target, anchor in links_of(page):
        assert (ROOT / target).exists(), target
        assert not anchor or anchor in anchors_of(target), (target, anchor)


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_a_newcomer_asks_is_answered_within_two_hops_from_readme(question):
    pages = {"README.md"}
    for _ in range(2):
        pages |= {target for page in pages for target, _ in links_of(page) if target.endswith(".md")}
    assert any(question in text_of(page) for page in pages)
