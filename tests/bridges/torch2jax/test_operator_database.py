"""How many of PyTorch's own samples of its core operators convert, with torch's values and gradients."""

import random
import signal
from collections import Counter

import jax
import numpy as np
import pytest
import torch

from bridges import BridgeError, torch2jax
from tests.bridges.torch_networks import Function

SMALLEST_SHARE = 0.95

ROUNDING_ONLY = ("native_layer_norm.",)
"""Their sample normalises one number by itself: torch's gradient is its rounding, ours is zero."""


class Slow(Exception):
    """A sample that takes longer than its share."""


def core_cases() -> list:
    """Entries of PyTorch's database whose operator is tagged `core`, by its name in torch.ops.aten."""
    from torch.testing._internal.common_methods_invocations import op_db

    def is_core(name: str) -> bool:
        packet = getattr(torch.ops.aten, name, None)
        overloads = packet.overloads() if packet is not None else ()
        return any(torch.Tag.core in getattr(packet, overload).tags for overload in overloads)

    return [info for info in op_db if is_core(info.aten_name or info.name) and torch.float64 in info.dtypes]


def outcome(info, sample) -> str:
    """`right`, `refused` (by one of the project's errors), `slow`, or what was wrong."""
    arguments = (sample.input, *sample.args)
    places = [i for i, a in enumerate(arguments) if isinstance(a, torch.Tensor)]
    if not places:
        return "no tensors"

    def run(*tensors):
        given = dict(zip(places, tensors, strict=True))
        return info.op(*(given.get(i, a) for i, a in enumerate(arguments)), **sample.kwargs)

    tensors = [arguments[i].detach() for i in places]
    try:
        try:
            torch2jax(Function(run), tuple(tensors), free_axes=None)  # compares values and gradients
        except BridgeError as error:
            if "torch has none here" not in str(error):
                return f"differs: {error}" if "differs" in str(error) else "refused"
            fn, params = torch2jax(Function(run), tuple(tensors), free_axes=None, verify=False)
            ours, expected = fn(params, *(t.numpy() for t in tensors)), run(*tensors)
            for a, b in zip(jax.tree.leaves(ours), torch.utils._pytree.tree_leaves(expected), strict=True):
                np.testing.assert_allclose(np.asarray(a), b.numpy(), rtol=1e-3, atol=1e-4)
    except Slow:
        return "slow"
    except Exception as error:  # all that a user would see of the samples is counted
        return f"{type(error).__name__}: {error}"
    return "right"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_most_core_operators_convert(capsys):
    """The first sample of each and one from the middle of its list. Prints the count that docs/torch2jax.md has."""
    pytest.importorskip("expecttest", reason="PyTorch's database of operators needs it")

    def stop(*_):
        raise Slow

    counts, wrong, cases = Counter(), [], core_cases()
    signal.signal(signal.SIGALRM, stop)
    for info in cases:
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        samples = list(info.sample_inputs("cpu", torch.float64, requires_grad=False))
        found = []
        for sample in {0: samples[0], len(samples) // 2: samples[len(samples) // 2]}.values():
            signal.alarm(20)
            found.append(outcome(info, sample))
            signal.alarm(0)
        kind = next((f for f in found if f not in ("right", "no tensors")), "right")
        counts[kind.split(":")[0]] += 1
        if kind != "right":
            wrong.append(f"{info.name}.{info.variant_test_name}: {kind[:200]}")
    with capsys.disabled():
        print(f"\n{len(cases)} entries: {dict(counts)}\n" + "\n".join(wrong))
    assert counts["right"] >= SMALLEST_SHARE * len(cases)
    assert not [line for line in wrong if "differs" in line and not line.startswith(ROUNDING_ONLY)]
