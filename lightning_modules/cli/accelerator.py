"""Where the command trains: on a GPU that PyTorch and JAX both see, else on the CPU."""

from __future__ import annotations

from typing import NamedTuple

import jax
import torch

INSTALL_JAX = "pip install 'canveg-torch[gpu]' gives JAX the same GPU"
INSTALL_TORCH = "a CUDA build of PyTorch (https://pytorch.org/get-started) sees it, too"


class Sight(NamedTuple):
    """Names of the GPU that each library sees; None: it sees none."""

    torch: str | None
    jax: str | None


def look() -> Sight:
    """Ask both libraries."""
    of_torch = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    try:
        of_jax = jax.devices("gpu")[0].device_kind
    except RuntimeError:  # there is no such backend
        of_jax = None
    return Sight(of_torch, of_jax)


def choose_accelerator(asked: str, sight: Sight) -> tuple[str, str | None]:
    """The accelerator for `Trainer`, and what the user should know about the choice.

    Args:
        asked: `trainer.accelerator`; `auto` is a GPU where both libraries see one, else the CPU.
        sight: of `look`.

    Raises:
        ValueError: an accelerator was asked for by name that not both can use; the message has the remedy.
    """
    if asked == "cpu":
        return "cpu", None
    disagreement = None
    if sight.torch and not sight.jax:
        disagreement = f"PyTorch sees a GPU ({sight.torch}), JAX sees none: {INSTALL_JAX}"
    elif sight.jax and not sight.torch:
        disagreement = f"JAX sees a GPU ({sight.jax}), PyTorch sees none: {INSTALL_TORCH}"
    both = sight.torch and sight.jax
    if asked == "auto":
        used = (
            None
            if disagreement is None
            else f"{disagreement}. Training on the CPU (trainer.accelerator=cpu is silent)."
        )
        return ("gpu" if both else "cpu"), used
    if asked in ("gpu", "cuda"):
        if both:
            return asked, None
        raise ValueError(
            f"trainer.accelerator: {disagreement or 'neither PyTorch nor JAX sees a GPU'}; or use cpu or auto."
        )
    raise ValueError(f"trainer.accelerator: {asked} is not supported; use auto, cpu or gpu.")
