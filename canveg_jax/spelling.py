"""Messages about a name that does not exist."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name: str, known: Iterable[str], *, listed_in: str | None = None) -> str:
    """A sentence that names the unknown `name`, what there is, and the nearest known name.

    `listed_in`: where the known names stand, if they are too many for a message.

    Example:
        >>> unknown("site preset", "US-Bi2", ["US-Bi1", "US-Hn1"])
        "unknown site preset 'US-Bi2'; there are US-Bi1, US-Hn1. Did you mean 'US-Bi1'?"
    """
    known = list(known)
    hint = did_you_mean(name, known)
    if listed_in:
        return f"unknown {what} '{name}'.{hint} See {listed_in}."
    return f"unknown {what} '{name}'; there are {', '.join(known)}.{hint}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence (with a space before it) that proposes the nearest known name; nothing if none is near.

    Example:
        >>> did_you_mean("LE_COR", ["H_CORR", "LE_CORR"])
        " Did you mean 'LE_CORR'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""
