"""Parameters that no one reads are refused: a misspelt filter filters nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request


def refuse_unknown(request: Request, known: Iterable[str]) -> None:
    """Raise the 400 that names each unknown parameter and the nearest one that is known.

    They stand in the address, or in a body that is an object or a form.
    """
    names = sorted(known)
    sent: Any = request.query_params if request.method in SAFE_METHODS else request.data
    errors = {}
    for unknown in sorted(sent.keys() - {*names}):
        near = difflib.get_close_matches(unknown, names, n=1)
        mend = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(names)}."
        errors[unknown] = [f"There is no such parameter. {mend}"]
    if errors:
        raise ValidationError(errors)
