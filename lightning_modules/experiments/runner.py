"""Many runs: those that are there are not computed again, the others one after the other or in several processes.

A run is there if its folder has a `result.json` with its key. Processes take runs by making a file of the invocation, so each
run is made once; they end when the process that started them does. The lock on the folder is passed on to them, so a second
invocation waits until the last one of them has ended.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .execute import PREDICTIONS, RESULT, SCORES, execute
from .plan import Run

ERROR = "error.txt"
PATIENCE = 10.0
"""Seconds to wait for the processes of an invocation that was killed."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the runs.

    Args:
        results: by run name, the content of `result.json`.
        computed: names of the runs that this invocation made.
        failed: by run name, the last line of what went wrong.
    """

    results: dict[str, dict[str, Any]]
    computed: tuple[str, ...]
    failed: dict[str, str]


def stored_result(folder: Path, key: str) -> dict[str, Any] | None:
    """The result in a run's folder, if it has this key, predictions and scores."""
    try:
        content = json.loads((folder / RESULT).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content if content.get("key") == key and all((folder / n).is_file() for n in (PREDICTIONS, SCORES)) else None


def execute_all(runs: Sequence[Run], out: Path, jobs: int = 1, say: Callable[[str], None] = print) -> Outcome:
    """Make the runs whose results are not there.

    Args:
        runs: of a plan.
        out: folder; each run has one of its own below `runs`.
        jobs: 1: in this process; more: in so many processes.
        say: told a line for each run.

    Raises:
        BlockingIOError: another invocation works in this folder.
        FileNotFoundError: a data file does not exist.
    """
    keys = {run.name: run.key() for run in runs}
    folder = out / "runs"
    with _only_one(out) as lock:
        missing = [run for run in runs if stored_result(folder / run.name, keys[run.name]) is None]
        if len(missing) < len(runs):
            say(f"{len(runs) - len(missing)} of {len(runs)} runs are there")
        if jobs <= 1 or len(missing) <= 1:
            for i, run in enumerate(missing):
                say(f"[{i + 1}/{len(missing)}] {attempt(run, folder, keys[run.name])}")
        else:
            _in_processes(missing, folder, keys, min(jobs, len(missing)), lock, say)
    results = {run.name: stored_result(folder / run.name, keys[run.name]) for run in runs}
    failed = {}
    for run in runs:
        if results[run.name] is None:
            path = folder / run.name / ERROR
            text = path.read_text().strip().splitlines()[-1] if path.is_file() else "its process was ended from outside"
            failed[run.name] = text
    computed = tuple(run.name for run in missing if run.name not in failed)
    return Outcome({name: result for name, result in results.items() if result is not None}, computed, failed)


def attempt(run: Run, folder: Path, key: str) -> str:
    """Make a run; what went wrong goes to `error.txt` in its folder. Returns a line that says what became of it."""
    place = folder / run.name
    place.mkdir(parents=True, exist_ok=True)
    for leftover in (RESULT, ERROR):
        (place / leftover).unlink(missing_ok=True)
    try:
        result = execute(run, place, key)
    except Exception as error:
        (place / ERROR).write_text(
            f"{traceback.format_exc()}\n{type(error).__name__}: {' '.join(str(error).split())}\n"
        )
        return f"{run.name}: failed, {type(error).__name__}: {' '.join(str(error).split())}"
    epochs = "" if result["epochs"] is None else f", {result['epochs']} epochs"
    return f"{run.name}: {result['wall_s']:.1f} s{epochs}"


def _in_processes(
    runs: Sequence[Run], folder: Path, keys: dict[str, str], jobs: int, lock: int | None, say: Callable[[str], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="canveg-runs-") as claims:
        task = Path(claims) / "task.pickle"
        task.write_bytes(pickle.dumps((list(runs), folder.absolute(), keys)))
        command = [sys.executable, "-m", "lightning_modules.experiments.runner", str(task)]
        passed = () if lock is None else (lock,)
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=passed) for _ in range(jobs)]

        def listen(worker: subprocess.Popen) -> None:
            for line in worker.stdout or ():
                if line.startswith("run "):
                    say(line.removeprefix("run ").rstrip())

        listeners = [threading.Thread(target=listen, args=(worker,), daemon=True) for worker in workers]
        try:
            for listener in listeners:
                listener.start()
            for worker in workers:
                worker.wait()
            for listener in listeners:
                listener.join()
        finally:
            for worker in workers:
                if worker.poll() is None:
                    worker.terminate()
                    worker.wait()


def work(task: Path) -> None:
    """What a process does: take a run that no other has taken, make it, take the next one."""
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    runs, folder, keys = pickle.loads(task.read_bytes())
    for i, run in enumerate(runs):
        try:
            os.close(os.open(task.with_name(f"taken-{i}"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        print(f"run [{i + 1}/{len(runs)}] {attempt(run, folder, keys[run.name])}", flush=True)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


@contextmanager
def _only_one(out: Path) -> Iterator[int | None]:
    """Hold the lock of a folder; the descriptor can be passed on. Where there are no such locks, None."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not on this system
        yield None
        return
    with (out / ".lock").open("w") as file:
        begin = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - begin > PATIENCE:
                    raise BlockingIOError(
                        f"another comparison works in {out}. Wait for it, or choose another folder (--out)."
                    ) from None
                time.sleep(0.2)
        yield file.fileno()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
