"""Shared set-up of all tests: double precision, headless plots, reference data and published numbers where they exist."""

import gc
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# One thread of linear algebra for each worker, who inherit this: more wait for each other in busy loops, five times slower.
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Most of a test's time is compilation. With few of LLVM's optimisations, and XLA's older way to make a kernel where this XLA
# still has it, the canopy's programs compile in half the time. (The older way without any optimisation is quicker still, but
# then XLA computes some roots to 1e-5 only.) An XLA_FLAGS of one's own, an empty one too, is left as it is: `XLA_FLAGS= pytest`
# tests the code that users run.
if "XLA_FLAGS" not in os.environ:  # workers inherit what is chosen here
    quicker = "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
    starts = [
        sys.executable,
        "-c",
        "import jax; jax.devices('cpu')",
    ]  # XLA ends a process that gives it a flag it does not know
    tried = subprocess.run(starts, env={**os.environ, "XLA_FLAGS": quicker}, capture_output=True, check=False)
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0" if tried.returncode else quicker

import hypothesis
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
matplotlib.use("Agg")
gc.set_threshold(100_000, 50, 100)  # tracing makes many objects that live on; searching them takes a fifth of its time
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("repeatable")

if importlib.util.find_spec("beartype"):
    import tests.typechecking  # noqa: F401  the hook of `make test-types` looks for it by its name
from canveg_jax import Parameters  # after double precision is switched on


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real tower data and reference values, beside the repository; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "reference").is_dir():
        pytest.skip("needs the folder 'shared' (tower data, reference values) beside the repository, which is absent")
    return folder


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
