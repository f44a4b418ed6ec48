"""System checks about the place of pictures."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, register

from catalog.storage import place


@register(deploy=True)  # it asks over the network: at the start, not with every command
def check_place(**_: Any) -> list[CheckMessage]:
    """What the place of pictures says of itself; a folder was looked at with the settings."""
    check = getattr(place(), "check", None)
    return [] if check is None else check()
