"""Rows of a table, and sums, means and maxima of bags of rows.

An index outside the table, for which torch raises, gives NaN. The padding row gets no gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .table import UnsupportedOperatorError, aten


def _rows(weight, index, padding_idx: int, scale_grad_by_freq: bool):
    if padding_idx >= 0:
        weight = weight.at[padding_idx].set(jax.lax.stop_gradient(weight[padding_idx]))
    size = weight.shape[0]
    index = jnp.where(index < 0, size, index)
    rows = jnp.take(weight, index, axis=0, mode="fill", fill_value=jnp.nan)
    if scale_grad_by_freq:
        count = jnp.zeros(size, weight.dtype).at[index].add(1, mode="drop")
        share = rows / count.at[index].get(mode="fill", fill_value=1)[..., None]
        rows = jax.lax.stop_gradient(rows) + (share - jax.lax.stop_gradient(share))
    return rows


@aten("embedding.default")
def _embedding(weight, index, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """`scale_grad_by_freq` divides the gradient of a row by how often it is taken."""
    del sparse
    return _rows(weight, index, padding_idx, scale_grad_by_freq)


@aten("_embedding_bag.default", "_embedding_bag_forward_only.default")
def _embedding_bag(
    weight, index, offsets, scale_grad_by_freq=False, mode=0, sparse=False, per_sample_weights=None,
    include_last_offset=False, padding_idx=-1,
):  # fmt: skip
    """`[bag, feature]`: sums (mode 0), means (1) or maxima (2) of the rows of each bag; an empty bag gives 0.

    Bag i holds `index[offsets[i]:offsets[i + 1]]` without the padding row. Of equal largest values of a bag the first gets the
    derivative. The other results hold what torch keeps for its own derivative, and are empty here, but for the bags' sizes.
    """
    del sparse
    if scale_grad_by_freq:
        raise UnsupportedOperatorError(
            "EmbeddingBag with scale_grad_by_freq=True has no JAX equivalent. Set it to False."
        )
    bags = offsets.shape[0] - (1 if include_last_offset else 0)
    places = jnp.arange(index.shape[0])
    bag = jnp.searchsorted(offsets, places, side="right") - 1
    kept = (bag >= 0) & (bag < bags)
    if padding_idx >= 0:
        kept &= index != padding_idx
    rows = _rows(weight, index, -1, False)
    target = jnp.where(kept, bag, bags)
    size = jnp.zeros(bags, int).at[target].add(1, mode="drop")
    if mode == 2:
        result = _largest(rows, target, bags, size)
    else:
        if per_sample_weights is not None:
            rows = rows * per_sample_weights[:, None]
        result = jnp.zeros((bags, weight.shape[1]), rows.dtype).at[target].add(rows, mode="drop")
        if mode == 1:
            result = result / jnp.maximum(size, 1).astype(result.dtype)[:, None]
    return result, jnp.zeros((0,), int), size, jnp.zeros((0,), int)


def _largest(rows, target, bags: int, size):
    """The largest entry of each feature in each bag."""
    fixed = jax.lax.stop_gradient(rows)
    fixed = jnp.where(jnp.isnan(fixed), jnp.inf, fixed)
    best = jnp.full((bags + 1, rows.shape[1]), -jnp.inf, rows.dtype).at[target].max(fixed)
    wins = fixed == best[target]
    number = jnp.where(wins, jnp.arange(rows.shape[0])[:, None], rows.shape[0])
    first = jnp.full((bags + 1, rows.shape[1]), rows.shape[0]).at[target].min(number)[:bags]
    value = jnp.take_along_axis(rows, jnp.minimum(first, max(rows.shape[0] - 1, 0)), axis=0) if rows.shape[0] else 0.0
    return jnp.where(size[:, None] > 0, value, 0)
