"""Files are written whole or not at all, also by several processes at once."""

import hashlib
import multiprocessing
import stat
import threading
from pathlib import Path

import pytest

from canveg_jax.files import cache_folder, replacing, sha256


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "made" / "table.csv"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent and temporary.suffix == ".csv" and temporary.name.startswith(".")
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("half_written", [True, False])
def test_a_failing_block_leaves_the_old_file_and_no_temporary(tmp_path, error, half_written):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        if half_written:
            temporary.write_text("ha")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_it_is_readable_as_any_new_file(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    with replacing(tmp_path / "table") as temporary:
        temporary.touch()
    assert stat.S_IMODE((tmp_path / "table").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def write_often(path: Path, letter: str, barrier: threading.Barrier) -> None:
    barrier.wait()
    for _ in range(50):
        with replacing(path) as temporary:
            temporary.write_text(letter * 100_000)


def test_two_processes_and_a_reader(tmp_path):
    path = tmp_path / "shared.txt"
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    writers = [context.Process(target=write_often, args=(path, letter, barrier)) for letter in "ab"]
    for writer in writers:
        writer.start()
    barrier.wait()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen | {path.read_text()} <= {"a" * 100_000, "b" * 100_000}
    assert list(tmp_path.iterdir()) == [path]


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("CANVEG_CACHE", str(tmp_path / "chosen"))
    assert cache_folder() == tmp_path / "chosen"
    monkeypatch.delenv("CANVEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "canveg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "canveg"
    assert not cache_folder().exists()


def test_sha256_is_that_of_the_content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content\r\n")
    assert sha256(path) == hashlib.sha256(b"content\r\n").hexdigest()
