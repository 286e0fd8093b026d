"""A page of headings, paragraphs, tables and pictures, as Markdown beside its pictures and as one self-contained HTML file."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from canveg_jax.files import replacing

from ..evaluation.report import save_figure

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
th { border-bottom: 2px solid #bbb; } th:first-child, td:first-child { text-align: left; }
.table { overflow-x: auto; } img { max-width: 100%; } p.lead { font-size: 1.1rem; font-weight: 600; }
"""


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading; the first of a page is its title."""

    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Plain text; `lead` stands out."""

    text: str
    lead: bool = False


@dataclasses.dataclass(frozen=True)
class Items:
    """A list of plain texts."""

    texts: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Table:
    """Head and cells, as text; the first column is to the left."""

    head: Sequence[str]
    body: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure, written to `name` beside the Markdown, and what it shows."""

    figure: Figure
    name: str
    text: str


Block = Heading | Paragraph | Items | Table | Picture


def write_page(blocks: Sequence[Block], folder: Path, stem: str = "report") -> list[Path]:
    """Write `report.md` with its pictures, and `report.html`. Each file is replaced only by a complete one."""
    pictures = [save_figure(b.figure, folder / b.name) for b in blocks if isinstance(b, Picture)]
    written = []
    for suffix, text in ((".md", markdown(blocks)), (".html", web_page(blocks))):
        with replacing(folder / f"{stem}{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(folder / f"{stem}{suffix}")
    return [*written, *pictures]


def markdown(blocks: Sequence[Block]) -> str:
    """The page as Markdown."""
    parts, level = [], "#"
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"{level} {text}")
                level = "##"
            case Paragraph(text, lead):
                parts.append(f"**{text}**" if lead else text)
            case Items(texts):
                parts.append("\n".join(f"- {text}" for text in texts))
            case Table(head, body):
                parts.append(markdown_table(head, body))
            case Picture(_, name, text):
                parts.append(f"![{text}]({name})")
    return "\n\n".join(parts) + "\n"


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table; the first column is to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def web_page(blocks: Sequence[Block]) -> str:
    """The page as HTML that needs no other file."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "canveg")
    parts, level = [], 1
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"<h{level}>{html.escape(text)}</h{level}>")
                level = 2
            case Paragraph(text, lead):
                parts.append(f'<p class="lead">{html.escape(text)}</p>' if lead else f"<p>{html.escape(text)}</p>")
            case Items(texts):
                parts.append("<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>")
            case Table(head, body):
                parts.append(_html_table(head, body))
            case Picture(figure, _, text):
                content = io.BytesIO()
                figure.savefig(content, format="png", dpi=110)
                data = base64.b64encode(content.getvalue()).decode("ascii")
                parts.append(f'<p><img alt="{html.escape(text)}" src="data:image/png;base64,{data}"></p>')
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    rows = "".join(line(cells, "td") for cells in body)
    return f'<div class="table"><table><thead>{line(head, "th")}</thead><tbody>{rows}</tbody></table></div>'
