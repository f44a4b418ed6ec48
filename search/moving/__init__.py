"""`manage.py move_to`: a SQLite catalogue becomes one on PostgreSQL."""

from __future__ import annotations

from typing import Final

MARK: Final = "mmsearch_move"
"""A table of the new database while a move into it is not complete: no server starts there."""
