"""Traced programs kept on disk, so that a new process neither traces nor lowers the canopy again.

JAX's own compilation cache saves the compilation, but JAX must first trace the Python code to find the entry, which takes
longer than loading it. Here the traced program (StableHLO, by `jax.export`) is kept under a key of everything that it was
traced from: the sources of this package, versions of JAX, static arguments, shapes and types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import export
from jaxlib.version import __version__ as jaxlib_version

from ..files import replacing

_folder: Path | None = None
_programs: dict[str, export.Exported] = {}


def keep_programs(folder: str | Path | None) -> None:
    """Keep the traced programs of the canopy in this folder (made when needed), and use those that lie there.

    Off unless called; the command `canveg` calls it. It saves most of the start of a process together with JAX's compilation
    cache (`jax_compilation_cache_dir`). Functions of this package that are replaced at run time are not noticed.

    Args:
        folder: may be shared by processes; None stops it.
    """
    global _folder
    _folder = None if folder is None else Path(folder)
    _programs.clear()


@contextmanager
def traced_afresh() -> Iterator[None]:
    """Within this block no stored program is used: what is traced is the canopy itself, as a program for export must be."""
    global _folder
    before, _folder = _folder, None
    try:
        yield
    finally:
        _folder = before


def stored(function: Callable, static: Any, structure: Callable[[], Any], *, unless: bool = False) -> Callable:
    """`partial(function, static)`, run from its stored program if `keep_programs` was called (under `vmap`: the function itself).

    The result cannot be differentiated: it is meant for the two halves of a `custom_vjp`.

    Args:
        function: `(static, *arguments) -> result`, a function of a module of this package; arguments and result are trees of
            arrays, the arguments floating-point.
        static: hashable, with a `repr` that tells everything about it.
        structure: returns the tree structure of the result.
        unless: run the function itself. For arguments whose tree structure does not tell everything that it is made of, such
            as a closure with functions inside.
    """
    plain = partial(function, static)
    if _folder is None or unless:
        return plain

    @jax.custom_batching.custom_vmap
    def from_store(*arguments):
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(arguments)]
        program = _program(plain, static, arguments, leaves)
        return jax.tree.unflatten(structure(), program.call(*leaves))

    @from_store.def_vmap
    def _batched(size, batched, *arguments):
        del size
        result = jax.vmap(plain, in_axes=jax.tree.map(lambda b: 0 if b else None, batched))(*arguments)
        return result, jax.tree.map(lambda _: True, result)

    return from_store


def _program(plain: partial, static: Any, arguments: Any, leaves: list) -> export.Exported:
    structure = jax.tree.structure(arguments)
    types = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    versions = _package_digest(), jax.__version__, jaxlib_version
    content = versions, _platforms(), plain.func.__qualname__, static, structure, types
    config = cast(Any, jax.config)  # its settings are attributes that no checker knows
    settings = config.jax_enable_x64, config.jax_default_matmul_precision
    key = hashlib.sha256(repr((content, settings)).encode()).hexdigest()
    if key not in _programs:
        assert _folder is not None
        path = _folder / f"{key}.stablehlo"
        found = _read(path)
        if found is None:
            flat = jax.jit(lambda *leaves: jax.tree.leaves(plain(*jax.tree.unflatten(structure, leaves))))
            found = export.export(flat, platforms=_platforms())(*types)
            _write(path, found.serialize())
        _programs[key] = found
    return _programs[key]


def _platforms() -> tuple[str, ...]:
    """What programs are made for: a machine with an accelerator may also run on its CPU."""
    here = jax.default_backend()
    return ("cpu",) if here == "cpu" else ("cpu", {"gpu": "cuda"}.get(here, here))


def _package_digest() -> str:
    """Of the whole package: any equation may be part of a program."""
    return _digest(Path(__file__).parents[1])


@cache
def _digest(folder: Path) -> str:
    """Of all Python sources in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> export.Exported | None:
    """The program in a file; None where there is none, or the file is damaged."""
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except FileNotFoundError:
        return None
    except Exception:  # a damaged file fails in many ways; it is written again
        return None


def _write(path: Path, program: bytes | bytearray) -> None:
    """Whole or not at all: other processes may read and write the same file. A folder that cannot be written is ignored."""
    with suppress(OSError), replacing(path) as temporary:
        temporary.write_bytes(program)
