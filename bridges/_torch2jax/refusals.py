"""What to do instead of what cannot be converted, and where in the user's network it stands."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import Any

import torch

_LIBRARIES = (str(torch.__path__[0]), str(Path(__file__).parents[1]))

_ADVICE: tuple[tuple[str, str], ...] = (
    (
        "_ctc_loss",
        "CTCLoss has no JAX equivalent: convert the network without it, and use a CTC loss of JAX (optax.ctc_loss) or torch's on "
        "the network's result.",
    ),
    (
        r"_pack_padded|pad_packed|PackedSequence|lengths_cpu|failed to unpack",
        "A packed sequence has sizes that depend on values. Run the layer on the padded sequence, and take the last valid step "
        "of each row by gather, or mask with torch.where.",
    ),
    (
        r"TensorWrapper|no attribute 'constant'|torch\.func|functorch|Expected FakeTensor",
        "Derivatives by torch.func inside a network cannot be exported. Convert the function without them, and take its "
        "derivative in JAX: jax.grad, jax.vmap(jax.grad(...)), jax.jacfwd of `fn`.",
    ),
    (
        r"nonzero|masked_select|unique|boolean mask|[Uu]nbacked symbol",
        "A size that depends on values is not possible in JAX: use torch.where with the mask (a sum or mean over the chosen is "
        "sum(where(mask, x, 0)) and its quotient by mask.sum()), or sort, cummax and searchsorted in place of unique.",
    ),
    ("fractional_max_pool", "Its windows are random: use MaxPool or AdaptiveMaxPool."),
    (
        r"special_\w*polynomial",
        "Write the polynomial out by its recurrence, or as powers with fixed coefficients.",
    ),
    (
        r"special_\w*bessel|special_airy",
        "JAX has no such function: of the Bessel functions only i0, i0e, i1, i1e are supported. Write a series or a rational "
        "approximation in torch operations, or compute it outside the network and make it an input.",
    ),
    (
        r"data-dependent|Boolean value|is_nonzero|aten\.equal|_local_scalar|\.item",
        "Use torch.where instead of branching on values, and sizes that do not depend on values.",
    ),
)


def advice_for(text: str) -> list[str]:
    """What to do, for the names of operators or an error of torch's export."""
    return [advice for pattern, advice in _ADVICE if re.search(pattern, text)]


def sizes_that_are_fixed(reason: str) -> str:
    """The axes that a network fixes although they were to be free, as torch's export names them; empty: it says of none."""
    found = re.findall(r"L\['leaves'\]\[(\d+)\]\.size\(\)\[(\d+)\].{0,80}constant \((\d+)\)", reason)
    return ", ".join(f"axis {axis} of input tensor {leaf} (size {size})" for leaf, axis, size in dict.fromkeys(found))


def place_of(error: BaseException, module: torch.nn.Module) -> str:
    """Where in the user's network an error was raised, as `'encoder.0' (LSTM), model.py line 12: y = self.encoder(x)`."""
    names = {id(layer): name for name, layer in module.named_modules()}
    layer, line = "", ""
    traceback: Any = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        owner, file = frame.f_locals.get("self"), frame.f_code.co_filename
        if id(owner) in names and isinstance(owner, torch.nn.Module):
            name = names[id(owner)]
            layer = f"{name!r} ({type(owner).__name__})" if name else f"the module ({type(owner).__name__})"
            if file.startswith(_LIBRARIES):
                line = ""
        if not file.startswith(_LIBRARIES) and layer:
            line = f"{file} line {traceback.tb_lineno}: {linecache.getline(file, traceback.tb_lineno).strip()}"
        traceback = traceback.tb_next
    return ", ".join(part for part in (layer, line) if part)
