"""The site of `make docs`, without building it: what its pages name and quote exists, and nothing is left out."""

import ast
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

import bridges
import canveg_jax
import canveg_jax.io
import canveg_jax.synthetic
import lightning_modules
from canveg_jax.simulation import SimulationConfig
from lightning_modules.cli.main import TRAINING, _parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [path for path in DOCS.rglob("*.md") if "generated" not in path.parts]
sys.path.insert(0, str(DOCS / "extensions"))
import docstrings  # noqa: E402
import repository_files  # noqa: E402
import source_keys  # noqa: E402

PACKAGES = (canveg_jax, canveg_jax.io, canveg_jax.synthetic, bridges, lightning_modules)


def public_names(package) -> set[str]:
    """What a package offers: its `__all__`, else what its `__init__.py` imports under the same name."""
    if hasattr(package, "__all__"):
        return set(package.__all__)
    tree = ast.parse(Path(package.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names if alias.asname == alias.name}


def listed(page: str) -> dict[str, list[str]]:
    """Module -> names in the `autosummary` lists of a page."""
    found: dict[str, list[str]] = {}
    module = ""
    for line in (DOCS / page).read_text().splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif name := re.fullmatch(r"   ~?([A-Za-z_][\w.]*)", line):
            found.setdefault(module, []).append(name.group(1))
    return found


LISTED = {
    module: names for page in sorted(DOCS.glob("api/*.md")) for module, names in listed(f"api/{page.name}").items()
}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_every_public_name_has_a_page_and_no_other_has(package):
    names = LISTED[package.__name__]
    missing, surplus = public_names(package) - set(names), set(names) - public_names(package)
    if package is canveg_jax.io:
        missing -= {"read_tower"}  # it is listed as canveg_jax.read_tower
    assert (missing, surplus) == (set(), set()) and len(names) == len(set(names)) > 5


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_every_public_name_says_what_it_is(package):
    """A docstring of its own, or the string below a constant."""
    silent = []
    for name in public_names(package):
        value = getattr(package, name)
        inherited = type(value).__doc__ if not isinstance(value, type) else None
        said = docstrings.constant_docstring(package.__name__, name)
        if said is None and getattr(value, "__doc__", None) not in (None, inherited):
            said = value.__doc__
        if said is None or len(said.split()) < 4:
            silent.append(name)
    assert silent == []


def test_every_equation_has_a_page():
    modules = {name for names in listed("physics/index.md").values() for name in names}
    files = [p for folder in ("physics", "stress") for p in (ROOT / "canveg_jax" / folder).glob("*.py")]
    assert modules == {f"canveg_jax.{p.parent.name}.{p.stem}" for p in files if p.stem != "__init__"}
    for name in modules:
        module = importlib.import_module(name)
        assert module.__doc__, name
        own = [
            v
            for k, v in vars(module).items()
            if not k.startswith("_") and getattr(v, "__module__", "") == name and callable(v)
        ]
        assert all(value.__doc__ for value in own), name


def test_the_index_leads_to_every_page():
    index = (DOCS / "index.md").read_text()
    entries = {
        line.removesuffix(".py")
        for tree in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)
        for line in tree.split()
    }
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES} - {"index"}
    notebooks = {f"notebooks/{path.stem}" for path in (ROOT / "examples" / "notebooks").glob("*.py")}
    assert pages | notebooks <= entries


# --- messages that the page of mistakes quotes


def texts_of_the_code() -> list[str]:
    """All texts of the packages, with … for what is filled in."""
    texts = []
    for path in (p for folder in ("canveg_jax", "bridges", "lightning_modules") for p in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return [" ".join(text.replace(r"\1", "…").split()) for text in texts]


TEXTS = texts_of_the_code()
QUOTED = [
    " ".join(quote.split()) for quote in re.findall(r"```text\n(.*?)```", (DOCS / "faq.md").read_text(), re.DOTALL)
]


def test_the_page_of_mistakes_quotes_messages():
    assert len(QUOTED) == len(set(QUOTED)) > 20


@pytest.mark.parametrize("quote", QUOTED, ids=lambda text: text[:40])
def test_a_quoted_message_is_one_of_the_code(quote):
    """To the letter; a … of the page stands for exactly what the code fills in."""
    assert len(quote.replace("…", "")) > 20
    assert any(quote in text for text in TEXTS), quote


def test_an_altered_message_is_noticed():
    assert not any(QUOTED[0].replace("complete", "full") in text for text in TEXTS)


# --- commands and settings that the pages show


def commands() -> list[tuple[str, str]]:
    found = []
    for path in [ROOT / "README.md", *PAGES]:
        for language, block in re.findall(r"^```([^\n]*)\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE):
            if language not in ("", "sh"):
                continue
            lines = block.replace("\\\n", " ").splitlines()  # a backslash goes on in the next line
            found += [(path.name, line) for line in lines if line.startswith("canveg ")]
    return found


def test_there_are_commands():
    assert {page for page, _ in commands()} >= {"README.md", "quickstart.md", "results.md"} and len(commands()) > 12


@pytest.mark.parametrize(("page", "line"), commands())
def test_the_commands_are_understood(page, line):
    arguments = shlex.split(re.sub(r"<[^>]*>", "FOLDER", line), comments=True)[1:]  # <folder with US-Bi1/> and its kind
    if arguments[0] in (*TRAINING, "finetune") or "--help" in arguments:
        return  # the parser of training is LightningCLI's, which tests/lightning/cli tries
    assert _parser().parse_args(arguments).run


def test_the_configurations_of_the_quickstart():
    simulate, fit, own = (
        yaml.safe_load(text)
        for text in re.findall(r"```yaml\n(.*?)```", (DOCS / "quickstart.md").read_text(), re.DOTALL)
    )
    SimulationConfig.model_validate(simulate)
    assert {"data", "model"} <= set(fit) and set(own) == {"data"}
    canveg_jax.Site.model_validate(own["data"]["towers"][0]["site"])


# --- how pages and docstrings are read


def test_keys_become_citations_outside_of_code():
    page = "After [Ball1987], not `[Ball1987]`, nor [Ball1987](x.md).\n\n```\n[Ball1987]\n```\n"
    assert source_keys.in_markdown(page) == page.replace("After [Ball1987]", "After {cite:t}`Ball1987`")


def test_docstrings_are_read_as_prose_with_code():
    said = docstrings.restructured(
        [
            "`g = a*b` after [Ball1987]; 2 * 3, x_ and |y| (docs/faq.md, 1).",
            "",
            "    g = g0",
            "",
            "Args:",
            "    x: `a`.",
            "",
            "    more: b",
        ]
    )
    assert said == [
        r"``g = a*b`` after :cite:t:`Ball1987`; 2 \* 3, x\_ and \|y\| (:doc:`docs/faq.md </faq>`, 1).", "",
        "::", "", "    g = g0", "",
        "Args:", "    x: ``a``.", "", "    more: b", "",
    ]  # fmt: skip


def test_lists_in_docstrings_are_lists():
    said = docstrings.restructured(["It has", "* a * b;", "  more", "* c.", "", "End."])
    assert said == ["It has", "", r"* a \* b;", "  more", "* c.", "", "End.", ""]


def test_links_lead_to_pages_or_downloads():
    text = "[a](../README.md) [b](closures.md#x) [c](../examples/demo.py) [d](nowhere.md) `[e](../README.md)`"
    assert repository_files.links_of_the_site(text, "docs") == (
        "[a](/index.md) [b](/closures.md#x) {download}`c </../examples/demo.py>` [d](nowhere.md) `[e](../README.md)`"
    )
    assert repository_files.links_of_the_site(
        "[n](tower_to_report.py) [l](../../docs/learning.md)", "examples/notebooks"
    ) == ("{doc}`n </notebooks/tower_to_report>` [l](/learning.md)")
