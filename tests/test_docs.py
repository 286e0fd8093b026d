"""The Markdown pages and the notebooks point at files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/notebooks/*.py")]
    if "generated" not in path.parts
)
FOLDERS = "canveg_jax|bridges|lightning_modules|tests|benchmarks|examples|docs"


def test_there_are_pages():
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} < set(PAGES) and len(PAGES) > 8


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_resolve(page):
    """Links to files, and paths of the repository in backticks; NAME in one stands for what is to come."""
    text = (ROOT / page).read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    targets = [(ROOT / page).parent / link for link in links if link]
    targets += [ROOT / path for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text)]
    targets = [target for target in targets if "NAME" not in target.name]
    missing = [target.resolve().relative_to(ROOT).as_posix() for target in targets if not target.exists()]
    assert not missing, f"{page} names {missing}, which are not there"
