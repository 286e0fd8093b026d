"""The pages docs/bridge.md and docs/torch2jax.md: their code runs, and what they name exists."""

import re
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import torch

import bridges

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text() for name in ("bridge.md", "torch2jax.md")}


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)


def run(block: str, **names) -> dict:
    names = {"jax": jax, "jnp": jnp, "torch": torch, **names}
    exec(block, names)
    return names


def test_the_first_example():
    (block,) = blocks("bridge.md")
    x, w = torch.ones(4, 3, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    run(block, x=x, w=w)
    torch.testing.assert_close(w.grad, torch.full((3, 2), 4 * (1 - torch.tanh(torch.tensor(3.0)) ** 2).item()))
    assert x.grad is not None


def test_the_examples_with_a_network():
    convert, by_hand, as_module = blocks("torch2jax.md")
    assert run(convert, x=jnp.ones((7, 5), jnp.float32))["y"].shape == (7, 1)
    gradients = []
    for block in (by_hand, as_module):
        torch.manual_seed(1)
        network = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 1), torch.nn.Sigmoid())
        fn, _ = bridges.torch2jax(network, torch.zeros(2, 2), verify=False)
        run(block, network=network, fn=fn, air=torch.linspace(10, 30, 3))
        gradients.append([p.grad for p in network.parameters()])
    assert any(bool(g.any()) for g in gradients[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("page", list(PAGES))
def test_the_errors_named_on_the_pages_exist(page):
    names = set(re.findall(r"`(\w+Error)`", PAGES[page]))
    assert names and all(issubclass(getattr(bridges, name), bridges.BridgeError) for name in names)


def test_the_page_gives_the_reasons_of_copies():
    listed = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"\| (?:copied|resolved), .*", PAGES["bridge.md"]))))
    x = torch.ones(4, 4)
    bridges.copies.clear()
    for tensor in (x[:, 1], x.flatten()[1:], (1j * x).conj(), (1j * x).conj().imag):
        bridges.jax2torch(lambda x: x)(tensor)
    assert isinstance(bridges.copies, Counter) and set(bridges.copies) == listed
