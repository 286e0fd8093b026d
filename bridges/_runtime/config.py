"""JAX settings of the thread that ran forward, for the thread that runs backward.

JAX's context managers (`jax.enable_x64`, `jax.default_matmul_precision`) are local to a thread, but torch may run
backward in another one (it does with CUDA). Without the forward's settings a float64 gradient would be computed in
float32.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax

JaxConfig = tuple[bool, str | None]
"""The settings that change what a traced function computes: 64 bits, precision of matrix products."""

settings: Any = jax.config
"""JAX's settings; type checkers do not know its attributes."""

_NOTHING = contextlib.nullcontext()


def current_config() -> JaxConfig:
    """Settings of the calling thread."""
    return settings.jax_enable_x64, settings.jax_default_matmul_precision


def with_config(config: JaxConfig) -> contextlib.AbstractContextManager:
    """Context in which these settings hold."""
    return _NOTHING if config == current_config() else _entered(config)


@contextlib.contextmanager
def _entered(config: JaxConfig):
    x64, matmul_precision = config
    with jax.enable_x64(x64), jax.default_matmul_precision(matmul_precision):
        yield
