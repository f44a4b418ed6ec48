"""Signals of the catalogue."""

from __future__ import annotations

from django.dispatch import Signal

items_saved = Signal()
"""Items were written in bulk, past `post_save`.

Sent inside the writing transaction with `item_ids: Sequence[int]` (primary keys) whose embedded
content may have changed. A receiver that raises rolls the write back.
"""

items_changed = Signal()
"""Items were written, or had tags put on or taken off, in whatever way.

Sent inside the writing transaction with `item_ids: Sequence[int]` (primary keys), after the rows
are as they will be. A receiver that raises rolls the write back.
"""

items_deleting = Signal()
"""Items are about to be deleted in bulk, past `pre_delete` and `post_delete`.

Sent inside the deleting transaction with `item_ids: Sequence[int]` (primary keys). A receiver
deletes its own rows of them: one that leaves some, or raises, rolls the deletion back.
"""
