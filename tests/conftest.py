"""Shared set-up of all tests: double precision, headless plots, the reference data where they exist."""

import gc
import os
from pathlib import Path

# One thread of linear algebra for each worker, who inherit this: more wait for each other in busy loops, five times slower.
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import hypothesis
import jax
import matplotlib
import pytest

ROOT = Path(__file__).resolve().parents[1]

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
matplotlib.use("Agg")
gc.set_threshold(100_000, 50, 100)  # tracing makes many objects that live on; searching them takes a fifth of its time
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real tower data and reference values, beside the repository; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "reference").is_dir():
        pytest.skip("needs the folder 'shared' (tower data, reference values) beside the repository, which is absent")
    return folder
