"""What pyproject.toml promises: dependencies that are declared, pinned and enough for what is imported."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
DEVELOPMENT = [Requirement(text) for text in PROJECT["optional-dependencies"]["dev"]]
EXPERIMENTS = [Requirement(text) for text in PROJECT["optional-dependencies"]["experiments"]]
OPTIONAL = [
    Requirement(text) for extra in ("places", "bayes", "bmi") for text in PROJECT["optional-dependencies"][extra]
]
"""Imported where they are there, not needed otherwise."""
DOCS = [Requirement(text) for text in PROJECT["optional-dependencies"]["docs"]]
PACKAGES = ("canveg_jax", "bridges", "lightning_modules")
NEEDED_UNSEEN = {
    "flatbuffers": "jax.export writes programs with it",
    "h5netcdf": "xarray finds it by the name of the engine",
    "h5py": "h5netcdf",
    "openpyxl": "pandas",
}
"""Dependencies that no import of the packages shows, and what needs them."""


def third_party_imports() -> set[str]:
    """Distributions that the packages import, by their canonical names."""
    found = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.split(".")[0])
    return {{"yaml": "pyyaml"}.get(name, canonicalize_name(name)) for name in found - set(PACKAGES)} - {
        canonicalize_name(name) for name in sys.stdlib_module_names
    }


def test_what_is_imported_is_declared_and_the_other_way_round():
    declared = {canonicalize_name(requirement.name) for requirement in [*RUNTIME, *OPTIONAL]}
    assert third_party_imports() == declared - set(NEEDED_UNSEEN)


@pytest.mark.parametrize(
    "requirement", [*RUNTIME, *DEVELOPMENT, *EXPERIMENTS, *OPTIONAL, *DOCS], ids=lambda requirement: requirement.name
)
def test_each_dependency_has_one_exact_version_in_its_range(requirement):
    pins = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    (pin,) = [pin for pin in pins if canonicalize_name(pin.name) == canonicalize_name(requirement.name)]
    (exact,) = pin.specifier
    assert requirement.specifier.contains(Version(exact.version)), f"{pin} is not in {requirement}"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()
