"""Fourier transforms: real to complex, complex to real, complex to complex."""

from __future__ import annotations

import math

import jax.numpy as jnp

from .table import aten


def _factor(sizes: list[int], normalization: int) -> float:
    """What multiplies the plain sum: 1, 1 / sqrt(n) or 1 / n."""
    n = math.prod(sizes)
    return (1.0, 1 / math.sqrt(n), 1 / n)[normalization]


def _sizes(x, dims) -> list[int]:
    return [x.shape[d] for d in dims]


@aten("_fft_r2c.default")
def _real_to_complex(x, dim, normalization, onesided):
    """The last of the axes has n // 2 + 1 frequencies if onesided."""
    scale = _factor(_sizes(x, dim), normalization)
    y = jnp.fft.rfft(x, axis=dim[-1]) if onesided else jnp.fft.fft(x, axis=dim[-1])
    for d in dim[:-1]:
        y = jnp.fft.fft(y, axis=d)
    return y if scale == 1.0 else y * scale


@aten("_fft_c2r.default")
def _complex_to_real(x, dim, normalization, last_dim_size):
    """Inverse; the last of the axes gets `last_dim_size` entries from its non-negative frequencies."""
    n = int(last_dim_size)
    sizes = [*_sizes(x, dim[:-1]), n]
    for d in dim[:-1]:
        x = jnp.fft.ifft(x, axis=d)
    y = jnp.fft.irfft(x, n=n, axis=dim[-1])
    scale = _factor(sizes, normalization) * math.prod(sizes)
    return y if scale == 1.0 else y * scale


@aten("_fft_c2c.default")
def _complex_to_complex(x, dim, normalization, forward):
    if not dim:
        return x
    sizes = _sizes(x, dim)
    for d in dim:
        x = jnp.fft.fft(x, axis=d) if forward else jnp.fft.ifft(x, axis=d)
    scale = _factor(sizes, normalization) * (1 if forward else math.prod(sizes))
    return x if abs(scale - 1.0) < 1e-15 else x * scale
