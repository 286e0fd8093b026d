"""One process, two frameworks: GPU memory left to torch, no JAX in forked children, no DataParallel threads.

JAX is multithreaded. A child made by `fork` after JAX has started inherits its locks but not the threads that hold
them; using JAX there hangs. torch's own work in such a child (a `DataLoader` worker that reads and batches tensors) is
safe. The bridge therefore marks such children and raises in them instead of hanging. JAX's own `RuntimeWarning` at the
fork is left alone, as it is true for code that calls JAX without the bridge. `worker_context` avoids both.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import warnings
from multiprocessing.context import BaseContext

from ..errors import ForkError, TransformError
from .upstream import backends_are_initialized

_PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"


def jax_is_running() -> bool:
    """Whether JAX has started a backend (its threads) in this process. Never starts one."""
    return backends_are_initialized()


def leave_gpu_memory_to_torch() -> None:
    """Ask JAX not to take three quarters of the GPU's memory at its first operation, unless the user decided otherwise.

    Takes effect only before JAX starts its backend; a value of `XLA_PYTHON_CLIENT_PREALLOCATE` already set is
    respected.

    Warns:
        RuntimeWarning: JAX already runs on a GPU with its default, so it is too late.
    """
    if _PREALLOCATE in os.environ:
        return
    if jax_is_running():
        import jax

        if jax.default_backend() == "gpu":
            warnings.warn(
                "JAX already runs on the GPU and has reserved most of its memory. Import `bridges` before the first "
                f"JAX operation, or set {_PREALLOCATE}=false (or XLA_PYTHON_CLIENT_MEM_FRACTION) in the environment.",
                RuntimeWarning,
                stacklevel=2,
            )
    os.environ[_PREALLOCATE] = "false"


class _Child:
    """State of this process: `forked` is true in a child forked after JAX had started."""

    forked = False


def _mark_child() -> None:
    _Child.forked = _Child.forked or jax_is_running()


os.register_at_fork(after_in_child=_mark_child)


def check_process() -> None:
    """Refuse to run JAX in a process or thread where it would hang or compute on foreign replicas.

    Raises:
        ForkError: forked child of a process in which JAX had started.
        TransformError: a worker thread of `torch.nn.DataParallel`.
    """
    if _Child.forked:
        raise ForkError(
            f"process {os.getpid()} was forked from one in which JAX was already running; JAX would hang here. Start "
            "the workers with multiprocessing_context='spawn' or 'forkserver' (DataLoader(..., "
            "multiprocessing_context=bridges.worker_context())), or call the bridged function in the main process only."
        )
    if not getattr(_thread, "checked", False):
        _refuse_data_parallel()
        _thread.checked = True


_thread = threading.local()


def _refuse_data_parallel() -> None:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "_worker" and frame.f_globals.get("__name__") == "torch.nn.parallel.parallel_apply":
            raise TransformError(
                "a bridged JAX function was called inside torch.nn.DataParallel, whose replicas share one process and "
                "one interpreter. Use torch.nn.parallel.DistributedDataParallel with one process per GPU."
            )
        frame = frame.f_back


def worker_context() -> BaseContext:
    """A multiprocessing context for `DataLoader(multiprocessing_context=...)` whose workers may use JAX.

    `forkserver` where it exists (workers are forked from a clean process), else `spawn`.
    """
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
