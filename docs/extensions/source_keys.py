"""Keys of sources, `[Ball1987]`, become links into the bibliography: in pages and in docstrings."""

from __future__ import annotations

import re

KEY = re.compile(r"\[((?:[A-Z][A-Za-z]+|de[A-Z][a-z]+)\d{4}[a-z]?)\](?!\()")
CODE = re.compile(r"^(`{3,}|~{3,}).*?^\1[^\n]*$|(`+)(?!`).+?(?<!`)\2(?!`)", re.DOTALL | re.MULTILINE)
"""Code in Markdown: a fenced block, or what stands between backticks."""


def outside_code(text: str, change) -> str:
    """Markdown with `change` applied to all of it that is no code."""
    pieces, end = [], 0
    for code in CODE.finditer(text):
        pieces += [change(text[end : code.start()]), code.group()]
        end = code.end()
    return "".join([*pieces, change(text[end:])])


def in_markdown(text: str) -> str:
    """The page with each key as a citation."""
    return outside_code(text, lambda prose: KEY.sub(r"{cite:t}`\1`", prose))


def in_restructured_text(text: str) -> str:
    """The text with each key as a citation."""
    return KEY.sub(r":cite:t:`\1`", text)


def _read_page(app, name, source) -> None:
    if app.env.doc2path(name).suffix == ".md":
        source[0] = in_markdown(source[0])


def setup(app) -> dict:
    """Register with Sphinx."""
    app.connect("source-read", _read_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
