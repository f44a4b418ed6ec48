from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from catalog.models import Item
from embeddings import worker
from embeddings.models import EmbeddingSpace, VectorChange
from embeddings.opening import open_space, retire_space
from search.answer.answering import search
from search.answer.query import SearchQuery
from search.index import maintenance
from search.index.space_index import current_index, space_directory
from search.tasks import maintain_index


def other_model() -> override_settings:
    encoder = {"BACKEND": "tests.encoders.ColourEncoder", "OPTIONS": {"name": "other"}}
    return override_settings(MMSEARCH_ENCODERS={"default": encoder})


def grow_old(folder: Path) -> None:
    past = (folder / maintenance.UNUSED).stat().st_mtime - maintenance.UNUSED_GRACE - 1
    os.utime(folder / maintenance.UNUSED, (past, past))


def test_a_space_opened_again_holds_no_ghosts(
    space: EmbeddingSpace, indexed_items: dict[str, Item]
) -> None:
    index = current_index()
    index.catch_up()
    assert maintenance.compact(index, force=True) == 2
    assert maintenance.prune_log(index) > 0
    with other_model():
        open_space()
        retire_space(space)
        for name in ("red", "green"):
            indexed_items[name].delete()
        worker.drain()
    again = open_space().space

    assert search(SearchQuery(text="red")).hits == ()
    worker.drain()
    assert {hit.item.item_id for hit in search(SearchQuery(text="red")).hits} == {"blue", "words"}
    assert all(each.agrees for each in maintenance.compare(current_index()))
    assert VectorChange.objects.exclude(space=again).filter(space=space).count() == 0


@pytest.mark.usefixtures("indexed_items")
def test_folders_of_retired_and_unknown_spaces_go_after_a_while(space: EmbeddingSpace) -> None:
    index = current_index()
    index.catch_up()
    maintenance.compact(index, force=True)
    retired = space_directory(space)
    unknown = settings.MMSEARCH_INDEX_DIR / "earlier"
    foreign = settings.MMSEARCH_INDEX_DIR / "backup"
    (unknown / "image").mkdir(parents=True)
    (foreign / "papers").mkdir(parents=True)
    with other_model():
        open_space()
        worker.drain()
        retire_space(space)
        kept = current_index()
        kept.catch_up()
        maintenance.compact(kept, force=True)
        maintain_index()
        assert retired.exists()
        assert unknown.exists()
        grow_old(retired)
        grow_old(unknown)
        maintain_index()
        assert not retired.exists()
        assert not unknown.exists()
        assert foreign.exists()
        assert space_directory(EmbeddingSpace.objects.get(state="active")).exists()


@pytest.mark.usefixtures("indexed_items")
def test_a_folder_in_use_again_is_kept(space: EmbeddingSpace) -> None:
    index = current_index()
    index.catch_up()
    maintenance.compact(index, force=True)
    folder = space_directory(space)
    (folder / maintenance.UNUSED).touch()
    grow_old(folder)

    maintain_index()

    assert sorted(each.name for each in folder.iterdir()) == ["image", "text"]
