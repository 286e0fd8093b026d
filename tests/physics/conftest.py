"""Parameters, and what the published model computed module by module (real towers; skipped where absent)."""

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from canveg_jax import Parameters


class ModuleRecord:
    """Inputs and outputs of one module of the published model for the 48 half-hours of one tower."""

    def __init__(self, arrays: Mapping[str, np.ndarray], module: str):
        self.arrays, self.module = arrays, module

    def given(self, name: str) -> np.ndarray:
        return self.arrays[f"{self.module}__in__{name}"]

    def made(self, name: str) -> np.ndarray:
        return self.arrays[f"{self.module}__out__{name}"]

    def made_in_one_sweep(self, name: str) -> np.ndarray:
        return self.arrays[f"{self.module}__out1pass__{name}"]


@pytest.fixture(params=["US-Bi1", "US-Hn1"], scope="session")
def tower(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def arrays(shared: Path, tower: str) -> dict[str, np.ndarray]:
    with np.load(shared / "reference" / f"modules-{tower}.npz") as content:
        return dict(content)


@pytest.fixture(scope="session")
def published(arrays):
    """`published("wind_profile")`: the record of that module."""
    return lambda module: ModuleRecord(arrays, module)


@pytest.fixture
def published_pi(monkeypatch):
    """The package computes with the published 3.14159 (defect: five digits of pi)."""
    for module in (np, jnp):
        monkeypatch.setattr(module, "pi", 3.14159)


@pytest.fixture(scope="session")
def p() -> Parameters:
    return Parameters()
