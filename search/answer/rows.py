"""From item keys to items and their tags, for every search: one plain statement.

The ORM spends ten times as long on composing it as the database on answering it, and a database on
another machine as long on the way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.db import connection

from catalog.models import Item, Tag

_FIELDS = (
    "id",
    "item_id",
    "title",
    "caption",
    "category",
    "image",
    "preview",
    "original_filename",
    "width",
    "height",
)
"""What answers show; of an item that comes from here the rest is read when it is asked for."""
_THEIRS = "FROM {through} t JOIN {tags} g ON g.id = t.tag_id WHERE t.item_id = i.id"
_STATEMENTS = {
    # One value, as JSON, which both databases make: SQLite's driver lets go of the interpreter's
    # lock at every row and value. SQLite keeps an order only below.
    "sqlite": (
        "SELECT json_group_array(json_array({fields}, json((SELECT json_group_array(name)"  # noqa: S608
        f" FROM (SELECT g.name {_THEIRS} ORDER BY g.name))))) FROM {{items}} i"
        " WHERE i.id IN ({marks})"
    ),
    "postgresql": (
        "SELECT json_agg(json_build_array({fields}, (SELECT json_agg(g.name ORDER BY g.name)"  # noqa: S608
        f" {_THEIRS})))::text FROM {{items}} i WHERE i.id IN ({{marks}})"
    ),
}


def load_items(pks: Sequence[int]) -> dict[int, tuple[Item, tuple[str, ...]]]:
    """Items by key, each with the names of its tags in alphabetical order; absent ones are not."""
    if not pks:
        return {}
    statement = _STATEMENTS[connection.vendor].format(
        through=Item.tags.through._meta.db_table,
        tags=Tag._meta.db_table,
        fields=", ".join(f"i.{field}" for field in _FIELDS),
        items=Item._meta.db_table,
        marks=", ".join(["%s"] * len(pks)),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, list(pks))
        rows = json.loads(cursor.fetchone()[0] or "[]")
    return {
        values[0]: (Item.from_db(connection.alias, _FIELDS, values), tuple(tags or ()))
        for *values, tags in rows
    }
