"""Recurrent cells and layers. A layer is a `lax.scan`, so the program does not grow with the length of the sequence."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .nn import linear
from .random import dropped
from .table import aten, random_aten


@aten("gru_cell.default")
def gru_cell(x, hidden, w_ih, w_hh, b_ih=None, b_hh=None):
    """r, z, n gates of torch: n = tanh(W x + r (U h)), h' = (1 - z) n + z h."""
    x_r, x_z, x_n = jnp.split(linear(x, w_ih, b_ih), 3, axis=-1)
    h_r, h_z, h_n = jnp.split(linear(hidden, w_hh, b_hh), 3, axis=-1)
    update = jax.nn.sigmoid(x_z + h_z)
    new = jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
    return (hidden - new) * update + new


@aten("lstm_cell.default")
def lstm_cell(x, state, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None):
    """Hidden and cell state after one step; gates i, f, g, o of torch. `w_hr` projects the hidden state (proj_size)."""
    hidden, cell = state
    i, f, g, o = jnp.split(linear(x, w_ih, b_ih) + linear(hidden, w_hh, b_hh), 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    return (hidden if w_hr is None else linear(hidden, w_hr)), cell


@aten("rnn_tanh_cell.default")
def rnn_tanh_cell(x, hidden, w_ih, w_hh, b_ih=None, b_hh=None):
    """tanh(W x + U h)."""
    return jnp.tanh(linear(x, w_ih, b_ih) + linear(hidden, w_hh, b_hh))


@aten("rnn_relu_cell.default")
def rnn_relu_cell(x, hidden, w_ih, w_hh, b_ih=None, b_hh=None):
    """relu(W x + U h)."""
    return jax.nn.relu(linear(x, w_ih, b_ih) + linear(hidden, w_hh, b_hh))


def _layers(
    draw, cell: Callable, x, state: tuple, weights, has_biases, layers, dropout, train, bidirectional, batch_first
):  # fmt: skip
    """Run stacked, possibly bidirectional layers over a sequence.

    Args:
        draw: gives a random key, for dropout between layers in training.
        cell: `(x, state, *weights) -> state`, state a tuple whose first entry is the output.
        x: `[time, batch, feature]`, or `[batch, time, feature]` if `batch_first`.
        state: arrays `[layer * direction, batch, hidden]`.

    Returns:
        The outputs of the last layer, and the last state of each layer and direction.
    """
    directions = 2 if bidirectional else 1
    per_cell = len(weights) // (layers * directions)
    batched = x.ndim == 3
    x = jnp.swapaxes(x, 0, 1) if batch_first and batched else x
    last = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            own = weights[k * per_cell : (k + 1) * per_cell]
            if not has_biases:
                own = (*own[:2], None, None, *own[2:])

            def step(carry, row, own=own):
                carry = cell(row, carry, *own)
                return carry, carry[0]

            final, output = jax.lax.scan(step, tuple(s[k] for s in state), x, reverse=bool(direction))
            outputs.append(output)
            last.append(final)
        x = jnp.concatenate(outputs, axis=-1) if directions == 2 else outputs[0]
        if layer + 1 < layers:
            x = dropped(draw, x, dropout, train)
    x = jnp.swapaxes(x, 0, 1) if batch_first and batched else x
    return x, tuple(jnp.stack(entries) for entries in zip(*last, strict=True))


def _single(cell: Callable) -> Callable:
    return lambda x, state, *weights: (cell(x, state[0], *weights),)


def _recurrent(cell: Callable) -> Callable:
    def run(draw, x, hidden, *options):
        output, (hidden,) = _layers(draw, _single(cell), x, (hidden,), *options)
        return output, hidden

    return run


random_aten("gru.input")(_recurrent(gru_cell))
random_aten("rnn_tanh.input")(_recurrent(rnn_tanh_cell))
random_aten("rnn_relu.input")(_recurrent(rnn_relu_cell))


@random_aten("lstm.input")
def _lstm(draw, x, state, *options):
    output, (hidden, cell) = _layers(draw, lstm_cell, x, tuple(state), *options)
    return output, hidden, cell
