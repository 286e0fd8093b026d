"""Large CSVs in blocks of whole lines, two of them parsed at a time."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any

import pandas as pd

from ..opening import TextFile

LARGE = 1 << 27
"""Bytes from which a file is worth the threads."""

BLOCK = 1 << 24
"""Bytes parsed at a time: with two threads it bounds the memory, for a file of any length."""

THREADS = 2


def in_blocks(file: TextFile) -> bool:
    """Whether a file is large, and can be cut at its line ends: not packed, and with bytes that are characters."""
    if file.packed or not file.encoding.startswith("utf-8") or file.path.stat().st_size < LARGE:
        return False
    with file.opened() as content:
        return b"\n" in content.read(BLOCK)


def parse_in_blocks(
    file: TextFile, lines_above: int, options: Mapping[str, Any], add: Callable[[pd.DataFrame], None], delimiter: bytes
) -> int:
    """Hand the rows of a file to `add`, part by part in their order.

    Args:
        file: for which `in_blocks` is true.
        lines_above: lines before the first row.
        options: of `pandas.read_csv`.
        add: takes the next rows.
        delimiter: what is counted.

    Returns:
        How often the delimiter stands in the file.

    Raises:
        pandas.errors.ParserError: rows that are none, also where a quotation runs over the end of a block.
    """
    count = 0
    with file.opened() as content, ThreadPoolExecutor(THREADS) as pool:
        for _ in range(lines_above):
            count += content.readline().count(delimiter)
        waiting: deque[Future[pd.DataFrame | None]] = deque()
        while block := _next_block(content):
            count += block.count(delimiter)
            waiting.append(pool.submit(_parsed, block, options))
            if len(waiting) > THREADS:
                _take(waiting.popleft(), add)
        while waiting:
            _take(waiting.popleft(), add)
    return count


def _next_block(content: IO[bytes]) -> bytes:
    block = content.read(BLOCK)
    return block + content.readline() if block and not block.endswith(b"\n") else block


def _parsed(block: bytes, options: Mapping[str, Any]) -> pd.DataFrame | None:
    try:
        return pd.read_csv(io.BytesIO(block), **options)
    except pd.errors.EmptyDataError:  # nothing but empty lines
        return None


def _take(future: Future[pd.DataFrame | None], add: Callable[[pd.DataFrame], None]) -> None:
    if (part := future.result()) is not None:
        add(part)
