"""What was meant by names that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Final

NAMED: Final = 10
"""Unknown names that are answered: there may be a hundred thousand in one body."""
LENGTH: Final = 100
"""Characters of each."""


def unknown_names(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """The first of the names that are not known, each with its mend as a sentence.

    The mend is the nearest name that is known, or else all that are.
    """
    unknown = [name[:LENGTH] for name in sorted({*names} - {*known})[:NAMED]]
    return {name: _mend(name, sorted(known)) for name in unknown}


def _mend(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
