from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection

from catalog.deletion import delete_items
from catalog.models import Item
from catalog.words import search_words, upkeep
from catalog.words.full_text import Pattern, full_text
from catalog.words.upkeep import WordComparison

pytestmark = pytest.mark.django_db

MakeItem = Callable[..., Item]


LOSING = {
    "sqlite": "INSERT INTO catalog_words (catalog_words) VALUES ('delete-all')",
    "postgresql": "DROP INDEX catalog_words",
}
"""How a full text index comes to harm: PostgreSQL's own keeps equal to its table, while there."""


@pytest.mark.django_db(transaction=True)  # PostgreSQL makes no index on what was just written
def test_compare_notices_a_full_text_index_that_lost_rows(make_item: MakeItem) -> None:
    make_item(title="Lost")
    with connection.cursor() as cursor:
        cursor.execute(LOSING[connection.vendor])
    assert not upkeep.compare().sound
    list(upkeep.rebuild_index())
    assert upkeep.compare() == WordComparison(items=1)
    assert search_words("lost").items.size == 1


def test_the_count_is_that_of_the_rows(make_item: MakeItem) -> None:
    assert full_text(connection).count() == 0
    keys = [make_item().pk for _ in range(200)]
    assert full_text(connection).count() == 200
    list(delete_items(Item.objects.filter(pk__in=keys[:150])))
    assert full_text(connection).count() == 50
    assert full_text(connection).key_range() == (keys[150], keys[-1])


def test_what_is_asked_together_is_found_as_it_is_alone(make_item: MakeItem) -> None:
    for colour in ("blue", "green", "grey", "white", "black"):
        make_item(title=f"red and {colour}", tags=("small round",))
    groups = [
        [Pattern(("red",))],
        [Pattern(("and", "white")), Pattern(("black",))],
        [Pattern(("nothing",))],
        [Pattern(("small", "ro"), prefix=True)],
    ]
    index = full_text(connection)
    found = [keys.tolist() for keys in index.matching_each(groups, limit=4)]
    assert found == [index.matching([group], limit=4).tolist() for group in groups]
    assert [len(keys) for keys in found] == [4, 2, 0, 4]
    assert index.count() == 5
