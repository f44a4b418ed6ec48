"""Signals of the catalogue."""

from __future__ import annotations

from django.dispatch import Signal

items_saved = Signal()
"""Items were written in bulk, past `post_save`.

Sent inside the writing transaction with `item_ids: Sequence[int]` (primary keys) whose embedded
content may have changed. A receiver that raises rolls the write back.
"""
