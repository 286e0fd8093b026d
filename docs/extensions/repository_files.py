"""Links of a page to files of the repository that are no pages: to their page where they have one, else the file to download.

So a page reads the same in the repository and on the site.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from source_keys import outside_code

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "measurements.md",
}
"""Files of the repository outside of `docs/` that the site shows -> their pages; notebooks follow by their folder."""
NOTEBOOKS = "examples/notebooks/"
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def links_of_the_site(text: str, folder: str) -> str:
    """Markdown with every link to a file of the repository as one that works on the site.

    Args:
        text: a page, or the comments of a notebook.
        folder: where it stands, from the root of the repository.
    """

    def replaced(link: re.Match) -> str:
        label, target, anchor = link.group(1), link.group(2), link.group(3) or ""
        path = Path(ROOT / folder / target).resolve()
        if not path.is_file() or not path.is_relative_to(ROOT):
            return link.group()  # Sphinx says that it leads nowhere
        inside = path.relative_to(ROOT).as_posix()
        if inside.startswith("docs/"):
            return f"[{label}](/{inside.removeprefix('docs/')}{anchor})"
        if inside.startswith(NOTEBOOKS):
            # The role, as MyST would follow the link of docs/notebooks and find no page in examples.
            return f"{{doc}}`{label.strip('`')} </notebooks/{path.stem}>`"
        if page := PAGES.get(inside):
            return f"[{label}](/{page}{anchor})"
        return f"{{download}}`{label.strip('`')} </../{inside}>`"

    return outside_code(text, lambda prose: LINK.sub(replaced, prose))


def _folder(path: str | Path) -> str:
    return PurePosixPath(Path(path).resolve().relative_to(ROOT).as_posix()).parent.as_posix()


def _read_page(app, name, source) -> None:
    path = app.env.doc2path(name)
    if path.suffix == ".md":
        source[0] = links_of_the_site(source[0], _folder(path))
    elif path.suffix == ".py":
        lines = source[0].split("\n")
        source[0] = "\n".join(
            links_of_the_site(line, _folder(path)) if line.startswith("# ") else line for line in lines
        )


def _read_included(app, path, name, source) -> None:
    source[0] = links_of_the_site(source[0], _folder(app.srcdir / path))


def setup(app) -> dict:
    """Register with Sphinx."""
    app.connect("source-read", _read_page)
    app.connect("include-read", _read_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
