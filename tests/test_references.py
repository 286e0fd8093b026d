"""Sources: keys in docstrings resolve, every equation names one, and `canveg cite` prints what a run uses."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pybtex.database import parse_string

from canveg_jax import references
from canveg_jax.site import SITES, SoilRespiration
from canveg_jax.stress import STRESSES
from lightning_modules.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("canveg_jax", "bridges", "lightning_modules")
KEY = re.compile(r"\[([A-Z][A-Za-z]+|de[A-Z][a-z]+)(\d{4}[a-z]?)\]")
BIBLIOGRAPHY = references.bibliography()
CONFIGS = sorted((ROOT / "examples").glob("*.yaml"))


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def docstrings(path: Path) -> str:
    """All strings that stand alone in a module: docstrings of modules, classes and functions, and those under constants."""
    tree = ast.parse(path.read_text())
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    return "\n".join(s.value for s in strings if isinstance(s.value, str))


def keys_in(text: str) -> set[str]:
    return {"".join(match) for match in KEY.findall(text)}


def test_keys_in_docstrings_resolve():
    cited = {key: path for folder in PACKAGES for path in modules(folder) for key in keys_in(docstrings(path))}
    assert len(cited) > 20
    assert {key: path for key, path in cited.items() if key not in BIBLIOGRAPHY.entries} == {}


def test_keys_in_the_documents_resolve():
    text = "\n".join(path.read_text() for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
    assert keys_in(text) <= set(BIBLIOGRAPHY.entries)


NOT_EQUATIONS = {"__init__.py", "state.py", "elementary.py", "base.py", "leaf_exchange.py"}
"""Records, functions of one number, and what puts the equations together."""


@pytest.mark.parametrize(
    "path",
    [p for folder in ("physics", "stress") for p in modules(f"canveg_jax/{folder}") if p.name not in NOT_EQUATIONS],
    ids=lambda p: p.stem,
)
def test_every_equation_names_a_source(path):
    assert keys_in(docstrings(path)), f"{path.name} cites no [Key] of docs/references.bib"


def test_nothing_refers_to_documents_outside_the_repository():
    outside = re.compile(r"\bspec(ification)? (R?\d|chapter)", re.IGNORECASE)
    texts = [
        *(p for folder in (*PACKAGES, "tests", "benchmarks") for p in modules(folder)),
        *(ROOT / "docs").glob("*.md"),
    ]
    found = [p.name for p in texts if p != Path(__file__) and outside.search(p.read_text())]
    assert found == []


def test_the_documents_and_the_package_hold_one_bibliography():
    link = ROOT / "docs" / "references.bib"
    assert link.is_symlink() and link.resolve() == ROOT / "canveg_jax" / "references.bib"


def test_entries_have_a_doi_or_say_that_they_have_none():
    for key, entry in BIBLIOGRAPHY.entries.items():
        doi = entry.fields.get("doi")
        assert re.fullmatch(r"10\.\d{4,}/\S+", doi) if doi else entry.fields.get("note"), key
        assert key == "canvegtorch" or "title" in entry.fields and entry.persons.get("author"), key


def test_the_software_is_cited_as_in_citation_cff():
    told, entry = yaml.safe_load((ROOT / "CITATION.cff").read_text()), BIBLIOGRAPHY.entries["canvegtorch"]
    assert re.sub("[{}]", "", entry.fields["title"]) == told["title"]
    assert f"Version {told['version']}" in entry.fields["note"]
    assert str(entry.persons["author"][0]).strip("{}") == told["authors"][0]["name"]
    papers = {
        BIBLIOGRAPHY.entries[key].fields["title"].replace("{", "").replace("}", "")
        for key in references.ALWAYS["model"]
    }
    assert papers == {paper["title"] for paper in told["references"]}


def test_tables_cover_every_scheme_and_preset_with_keys_that_resolve():
    assert set(references.STRESS) == {*STRESSES, "network"}
    assert {name: scheme.references for name, scheme in STRESSES.items()} == {n: references.STRESS[n] for n in STRESSES}
    assert set(references.SOIL_RESPIRATION) == set(get_args(SoilRespiration))
    assert set(references.SITE) == set(SITES)
    tables = (
        references.ALWAYS,
        references.CONDUCTANCE,
        references.STRESS,
        references.SOIL_RESPIRATION,
        references.SITE,
    )
    keys = {key for table in tables for keys in table.values() for key in keys}
    keys |= {*references.SMOOTH_COLIMITATION, *references.SYNTHETIC}
    assert keys <= set(BIBLIOGRAPHY.entries)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_cite_of_every_example(config, capsys):
    assert main(["cite", "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    entries = parse_string(printed, "bibtex").entries
    assert {"canvegtorch", "Jiang2025", "Baldocchi1998", "Weiss1985", "Farquhar1980", "Ball1987"} <= set(entries)
    assert printed.count("@") == len(entries)  # each once
    site = {"us_bi1": "ReySanchez2022", "us_hn1": "USHn1", "simulate": "ReySanchez2022", "synthetic": "Spencer1971"}
    site |= {
        f"compare{of}": site[base] for of, base in (("", "us_bi1"), ("_us_hn1", "us_hn1"), ("_synthetic", "synthetic"))
    }
    assert site[config.stem] in entries
    assert ("Wang1998" in entries) == (config.stem == "simulate")


def test_cite_follows_the_chosen_schemes():
    tower = {"tower": {"site": "US-Whs"}, "site_options": {"soil_respiration": "alfalfa"}, "smooth_colimitation": True}
    parts = references.references_of({**tower, "conductance": "medlyn", "stress": "feddes"})
    assert parts["stomatal conductance: medlyn"][0] == "Medlyn2011" and parts["stress: feddes"] == ("Feddes1978",)
    assert parts["smooth co-limitation"] == ("Collatz1991",) and parts["site US-Whs"] == ("Scott2017",)
    assert "soil respiration: alfalfa" in parts and "soil respiration: q10" not in parts
    own = references.references_of({"data": {"towers": [{"site": {"name": "Mine", "latitude": 1.0}}]}, "model": {}})
    assert own["site Mine"] == () and own["stress: network"] == ("Jiang2025",)
    assert references.references_of({"tower": {"site": "US-Bi1"}})["stress: none"] == ()


def test_cite_of_what_is_no_configuration(tmp_path, capsys):
    assert main(["cite", "--config", str(tmp_path / "absent.yaml")]) == 2
    assert "No such file" in (message := capsys.readouterr().err) and "absent.yaml" in message
    wrong = tmp_path / "wrong.yaml"
    for text, expected in {
        "- 1": "expected a mapping, got list",
        "trainer: {}": "expected a configuration of training",
        "tower: {site: US-Bi2}": "Did you mean 'US-Bi1'?",
        "tower: {site: US-Bi1}\nstress: fedes": "Did you mean 'feddes'?",
        "tower: {site: US-Bi1}\nconductance: ball": "there are ball_berry, medlyn, leuning",
    }.items():
        wrong.write_text(text)
        assert main(["cite", "--config", str(wrong)]) == 2
        assert expected in capsys.readouterr().err
    with pytest.raises(ValueError, match="unknown reference 'Jiang2052'.*Did you mean 'Jiang2025'"):
        references.bibtex(["Jiang2052"])
