"""JAX settings of the thread that ran forward, for the thread that runs backward.

JAX's context managers (`jax.enable_x64`, `jax.default_matmul_precision`) are local to a thread, but torch may run backward
in another one (it does with CUDA). Without the forward's settings a float64 gradient would be computed in float32.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import jax

_NOTHING = contextlib.nullcontext()


class JaxConfig(NamedTuple):
    """The settings that change what a traced function computes."""

    x64: bool
    matmul_precision: str | None

    def active(self) -> contextlib.AbstractContextManager:
        """Context in which these settings hold."""
        return _NOTHING if self == current_config() else self._entered()

    @contextlib.contextmanager
    def _entered(self):
        with jax.enable_x64(self.x64), jax.default_matmul_precision(self.matmul_precision):
            yield


def current_config() -> JaxConfig:
    """Settings of the calling thread."""
    config = jax.config
    return JaxConfig(config.jax_enable_x64, config.jax_default_matmul_precision)
