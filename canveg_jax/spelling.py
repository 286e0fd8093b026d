"""Messages about a name that does not exist."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A sentence that names the unknown `name`, what there is, and the nearest known name.

    Example:
        >>> unknown("site preset", "US-Bi2", ["US-Bi1", "US-Hn1"])
        "unknown site preset 'US-Bi2'; there are US-Bi1, US-Hn1. Did you mean 'US-Bi1'?"
    """
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{name}'; there are {', '.join(known)}.{hint}"
