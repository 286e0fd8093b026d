"""Torch networks of the kinds that `torch2jax` must convert, each with a maker of random inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class Case(NamedTuple):
    """A network and `inputs(batch, dtype) -> tuple` of its arguments."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int, torch.dtype], tuple]


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 6), nn.GELU(), nn.Dropout(0.3), nn.Linear(6, 4))
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return torch.sigmoid(self.head(x + self.inner(x))).squeeze(-1)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(4, 5)
        self.norm = nn.BatchNorm1d(5)
        with torch.no_grad():
            self.norm.running_mean.copy_(torch.linspace(-1, 1, 5))
            self.norm.running_var.copy_(torch.linspace(0.5, 2, 5))
            self.norm.weight.copy_(torch.linspace(1, 2, 5))

    def forward(self, x):
        return torch.tanh(self.norm(self.lift(x)))


class SiteStress(nn.Module):
    """A dict of forcing and a site index, as hybrid canopy models use; the order of the keys matters to it."""

    def __init__(self):
        super().__init__()
        self.site = nn.Embedding(3, 2, padding_idx=0)
        self.net = nn.Sequential(nn.Linear(5, 6), nn.SiLU(), nn.Linear(6, 1), nn.Softplus())

    def forward(self, forcing: dict):
        site = forcing.pop("site")
        x = torch.stack(list(forcing.values()), dim=-1)
        return torch.exp(-self.net(torch.cat([x, self.site(site)], dim=-1))).squeeze(-1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mha = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        attended, weights = self.mha(x, x, x)
        masked = F.scaled_dot_product_attention(x, x, x, is_causal=True)
        allowed = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
        return attended + masked + F.scaled_dot_product_attention(x, x, x, attn_mask=allowed), weights


class Sequence(nn.Module):
    def __init__(self, layer: type, **options):
        super().__init__()
        self.rnn = layer(2, 3, batch_first=True, **options)

    def forward(self, x):
        out, state = self.rnn(x)
        return {"last": out[:, -1], "state": state}


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.lstm, self.rnn = nn.GRUCell(2, 3), nn.LSTMCell(3, 3), nn.RNNCell(3, 3)

    def forward(self, x, h):
        h = self.gru(x, h)
        h, c = self.lstm(h, (h, torch.zeros_like(h)))
        return self.rnn(h, c)


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        self.same = nn.Conv1d(2, 4, 3, padding="same", dilation=2)
        self.grouped = nn.Conv1d(4, 4, 3, stride=2, padding=1, groups=2)
        self.up = nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, x):
        y = F.avg_pool1d(torch.relu(self.same(x)), 2)
        return self.up(self.norm(self.grouped(y))).mean(-1)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(4, 4)
        self.decode = nn.Linear(4, 4)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


def _features(*shape: int) -> Callable:
    return lambda batch, dtype: (torch.randn(batch, *shape, dtype=dtype),)


def _forcing(batch: int, dtype: torch.dtype) -> tuple:
    site = torch.randint(0, 3, (batch,))
    return (
        {"wind": torch.randn(batch, dtype=dtype), "site": site, **{k: torch.rand(batch, dtype=dtype) for k in "ba"}},
    )


CASES: dict[str, Case] = {
    "mlp": Case(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2), nn.Sigmoid()), _features(4)),
    "residual": Case(Residual, _features(4)),
    "batch_norm": Case(Normed, _features(4)),
    "site_stress": Case(SiteStress, _forcing),
    "attention": Case(Attention, _features(3, 4)),
    "transformer": Case(lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), _features(3, 4)),
    "gru": Case(lambda: Sequence(nn.GRU, bidirectional=True), _features(3, 2)),
    "lstm": Case(lambda: Sequence(nn.LSTM, num_layers=2, dropout=0.5), _features(3, 2)),
    "rnn": Case(lambda: Sequence(nn.RNN, nonlinearity="relu"), _features(3, 2)),
    "cells": Case(Cells, lambda batch, dtype: (torch.randn(batch, 2, dtype=dtype), torch.randn(batch, 3, dtype=dtype))),
    "convolution": Case(Convolved, _features(2, 8)),
    "tied": Case(Tied, _features(4)),
}
