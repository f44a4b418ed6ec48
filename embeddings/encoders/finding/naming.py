"""What a model may be called. On the standard library alone: what installs asks here first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

STARTER: Final = "starter"
HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
PAIR: Final = "+"
"""Stands between a text model and the model of its pictures."""
CONFIGURATION: Final = "config.json"
MODULES: Final = "modules.json"
"""A directory with a model has one of these two."""
_CHOICES: Final = (
    "A model is `starter`, a hub name like `openai/clip-vit-base-patch32`, or a directory."
)


def halves(name: str) -> list[str]:
    """The names of a text model and of the model of its pictures, or the one name that it is."""
    if as_path(name).is_dir():
        return [name]
    return [half.strip() for half in name.split(PAIR, 1)]


def as_path(name: str) -> Path:
    """The name as that of a directory, whether or not there is one."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~nobody
        return Path(name)


def misnamed(model: str) -> str:
    """Why this can be no model's name, and what can; empty where it may be one.

    Reads no weights and uses no network.
    """
    name = model.strip()
    if not name:
        return f"No model is named. {_CHOICES}"
    return next(filter(None, map(_misnamed, halves(name))), "")


def _misnamed(name: str) -> str:
    path = as_path(name)
    if name == STARTER:
        return ""
    if path.is_dir():
        if any((path / file).is_file() for file in (CONFIGURATION, MODULES)):
            return ""
        return f"{path} is no model directory: it has no {CONFIGURATION}."
    if path.is_absolute() or name.startswith((".", "~")):
        return f"There is no directory {name}. {_CHOICES}"
    return "" if HUB_NAME.fullmatch(name) else f"{name!r} names no model. {_CHOICES}"
