"""Docstrings as they are written here (Google sections, code between single backticks, sources in brackets) for Sphinx.

Sphinx reads reStructuredText, where a star or an underscore of plain prose is markup and a single backtick a reference.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

from source_keys import in_restructured_text

SECTION = re.compile(r"(Args|Class attributes|Returns|Raises|Yields|Attributes|Note|Notes|Example|Examples|Warns):")
PIECES = re.compile(r"(`+)(.+?)\1", re.DOTALL)


def prose(text: str) -> str:
    """One paragraph: code in double backticks, markup characters of the prose escaped, sources as citations."""
    pieces, end = [], 0
    for code in PIECES.finditer(text):
        pieces += [_plain(text[end : code.start()]), f"``{code.group(2).strip()}``"]
        end = code.end()
        if text[end : end + 1].isalnum():
            pieces.append("\\ ")  # a literal ends at a word's end only
    return "".join([*pieces, _plain(text[end:])])


def _plain(text: str) -> str:
    escaped = re.sub(r"([*|])|(?<=\w)(_)(?!\w)", r"\\\1\2", text)
    escaped = re.sub(r"\bdocs/([a-z0-9-]+)\.md", r":doc:`docs/\1.md </\1>`", escaped)
    return in_restructured_text(
        re.sub(r"^( *)\\\* ", r"\1* ", escaped, flags=re.MULTILINE)
    )  # items of a list stay such


def restructured(lines: list[str]) -> list[str]:
    """A docstring in reStructuredText; blocks that are indented below prose are shown as code."""
    result: list[str] = []
    section = False
    for paragraph in _paragraphs(lines):
        first = paragraph[0]
        if not first.startswith(" "):
            section = SECTION.fullmatch(first) is not None
        if first.startswith("    ") and not section:
            result += ["::", "", *paragraph, ""]
        else:
            result += [*prose("\n".join(paragraph)).split("\n"), ""]
    return result


def _paragraphs(lines: list[str]) -> list[list[str]]:
    """Lines between blank ones; a list begins a paragraph of its own, as reStructuredText wants it."""
    found: list[list[str]] = [[]]
    listing = False
    for line in lines:
        item = line.lstrip().startswith("* ")
        if item and not listing:
            found.append([])
        listing = item or (listing and line.startswith("  "))
        if line.strip():
            found[-1].append(line)
        else:
            found.append([])
            listing = False
    return [paragraph for paragraph in found if paragraph]


@cache
def public_names(package: str) -> dict[str, str]:
    """Public names of a package -> the module that defines each, read from its `__init__.py` (`from .x import y as y`)."""
    path = Path(str(sys.modules[package].__file__))
    return {
        alias.name: "." * node.level + (node.module or "")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


@cache
def strings_below_constants(module: str) -> dict[str, str]:
    """The string that stands below each constant of a module, by the constant's name."""
    body = ast.parse(Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8")).body
    strings = {}
    for constant, below in zip(body, body[1:], strict=False):
        match constant, below:
            case (
                ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                strings[name] = text
    return strings


def constant_docstring(package: str, name: str) -> str | None:
    """What is said of a public constant, in the module that defines it, wherever that is imported from; None if nothing."""
    place = public_names(package).get(name)
    if place is None:
        return None
    module = import_module(place, package).__name__
    said = strings_below_constants(module).get(name)
    return constant_docstring(module, name) if said is None else said


OF_A_TUPLE = "Alias for field number"
"""What Python says of the fields of a `NamedTuple`, which the docstring of the class explains."""


def _skip(app, what, name, obj, skip, options) -> bool | None:
    return True if str(getattr(obj, "__doc__", "")).startswith(OF_A_TUPLE) else None


def _process(app, what, name, obj, options, lines: list[str]) -> None:
    package, _, own_name = name.rpartition(".")
    if what == "data" and (said := constant_docstring(package, own_name)):
        lines[:] = inspect.cleandoc(said).split("\n")
    lines[:] = restructured(lines)


def setup(app) -> dict:
    """Register with Sphinx, ahead of napoleon (whose priority is 500)."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
