"""Stores on servers, through the doors that people and the worker take."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from catalog.models import Item
from embeddings import per_space, worker
from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.opening import open_space
from embeddings.spaces import require_active_space
from search.answer.answering import search
from search.answer.syntax import ask
from search.index import maintenance
from search.index.remote_index import RemoteIndex, engine_of
from search.index.space_index import active_index, index_of
from search.index.stores.remote import following, milvus, store
from search.index.stores.remote.engine import StoreUnavailable
from search.index.stores.remote.reserve import Reserve
from search.models import StorePosition
from search.tasks import maintain_index
from tests.processes import wait_until

if TYPE_CHECKING:
    from tests.servers import Milvus

pytestmark = pytest.mark.timeout(400)  # Milvus starts within the first test's time
NOWHERE = "milvus://127.0.0.1:9"


def answers(**options: Any) -> list[tuple[str, float]]:
    hits = search(ask("red", top_n=10, all=True, **options)).hits
    return [(hit.item.item_id, hit.score) for hit in hits]


def applied() -> set[int]:
    return set(StorePosition.objects.values_list("applied_seq", flat=True))


@pytest.fixture(params=["pgvector", "milvus"])
def remote(request: pytest.FixtureRequest, db: None) -> Iterator[str]:
    """The setting; what was written into the store goes with the test."""
    name = request.param
    if name == "milvus":
        name = request.getfixturevalue("milvus_server").url
    with override_settings(MMSEARCH_VECTOR_STORE=name):
        yield name
        for row in StorePosition.objects.select_related("space"):
            engine_of(row.space, Modality(row.modality), row.store).drop()


@pytest.mark.servers
def test_every_store_gives_the_same_answers(remote: str, indexed_items: dict[str, Item]) -> None:
    untold = answers()
    maintain_index()
    told = answers()
    with override_settings(MMSEARCH_VECTOR_STORE="faiss"):
        assert untold == told == answers()
    assert {name for name, _ in told} == {"red", "green", "blue", "words"}
    assert applied() == {active_index().log_end()[0]}


@pytest.mark.servers
def test_what_is_committed_is_found_and_what_is_deleted_gone_at_once(
    remote: str, indexed_items: dict[str, Item], make_item: Callable[..., Item]
) -> None:
    maintain_index()
    answers()
    make_item(item_id="later", colour="purple")
    worker.drain()
    Item.objects.get(item_id="red").delete()

    found = answers()

    assert {name for name, _ in found} == {"green", "blue", "words", "later"}
    maintain_index()
    assert answers() == found
    call_command("check_index", stdout=io.StringIO())


@pytest.mark.servers
def test_filters_hold(remote: str, indexed_items: dict[str, Item]) -> None:
    maintain_index()
    found = search(ask("red category:cold", top_n=10, all=True))
    assert {hit.item.item_id for hit in found.hits} == {"green", "blue"}
    assert found.total == 2


@pytest.mark.servers
def test_a_store_that_lost_all_is_filled_again(remote: str, indexed_items: dict[str, Item]) -> None:
    maintain_index()
    before = answers()
    index = active_index()
    for modality in index.stores:
        engine_of(index.space, modality, remote).drop()

    maintain_index()

    assert answers() == before
    call_command("check_index", stdout=io.StringIO())


@pytest.mark.servers
def test_a_log_that_is_pruned_too_far_means_filling_and_says_so(
    remote: str, indexed_items: dict[str, Item], client: Client
) -> None:
    space = require_active_space()
    end, _ = active_index().log_end()
    VectorChange.objects.all().delete()
    EmbeddingSpace.objects.filter(pk=space.pk).update(log_start=end)

    refused = client.get("/api/v1/search/?q=red")
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert "is being filled" in refused.json()["detail"]
    assert client.get("/readyz").status_code == 503

    maintain_index()
    assert {name for name, _ in answers()} == {"red", "green", "blue", "words"}


@pytest.mark.servers
def test_check_index_finds_what_differs_and_rebuild_index_mends_it(
    remote: str, indexed_items: dict[str, Item], capsys: pytest.CaptureFixture[str]
) -> None:
    maintain_index()
    index = active_index()
    engine = engine_of(index.space, Modality.IMAGE, remote)
    red, green, blue = Embedding.objects.filter(modality="image").order_by("item_id")
    other = np.stack([green.as_array(), green.as_array()])
    engine.write(np.array([red.item_id, 9999]), other, np.array([blue.item_id]))

    with pytest.raises(CommandError, match="rebuild_index"):
        call_command("check_index")
    told = "3 in the index, 1 missing, 1 surplus, 1 different: they DIFFER"
    assert told in capsys.readouterr().out

    call_command("rebuild_index", stdout=io.StringIO())
    call_command("check_index", stdout=io.StringIO())


@pytest.mark.servers
def test_a_catalogue_changes_its_store_without_a_dark_minute(
    remote: str, indexed_items: dict[str, Item], make_item: Callable[..., Item]
) -> None:
    with override_settings(MMSEARCH_VECTOR_STORE="faiss"):
        maintain_index()
    call_command("rebuild_index", stdout=io.StringIO())
    with override_settings(MMSEARCH_VECTOR_STORE="faiss"):
        make_item(item_id="later", colour="purple")
        worker.drain()
        for _ in range(3):
            maintenance.compact(index_of(require_active_space()), force=True)
            maintain_index()
        before = answers()

    assert answers() == before
    assert "later" in dict(before)


@pytest.mark.servers
def test_the_log_is_pruned_as_far_as_the_store_was_told(
    remote: str, indexed_items: dict[str, Item], make_item: Callable[..., Item]
) -> None:
    maintain_index()
    assert VectorChange.objects.count() == 0
    make_item(item_id="later", colour="purple")
    worker.drain()
    maintenance.prune_log(active_index())
    assert VectorChange.objects.count() == 1
    assert "later" in dict(answers())


@pytest.mark.servers
def test_a_retired_space_leaves_nothing_in_the_store(
    remote: str, indexed_items: dict[str, Item]
) -> None:
    other = open_space("other").space
    assert other is not None
    worker.drain()
    maintain_index()
    assert StorePosition.objects.filter(space=other).count() == 2

    call_command("retire_space", other.pk, stdout=io.StringIO())

    assert not StorePosition.objects.filter(space=other).exists()
    assert engine_of(other, Modality.IMAGE, remote).prepare()  # was not there
    engine_of(other, Modality.IMAGE, remote).drop()


@pytest.mark.servers
def test_a_window_at_a_time_comes_to_the_same(
    remote: str,
    indexed_items: dict[str, Item],
    make_item: Callable[..., Item],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "WINDOW", 2)
    for number in range(5):
        make_item(item_id=f"more-{number}", colour="purple")
    worker.drain()
    index = active_index()
    assert isinstance(index, RemoteIndex)
    expected = answers()
    seen = [applied()]
    while index.tell(at_most=1):
        assert answers() == expected
        seen.append(applied())
    assert len(seen) > 3
    assert applied() == {index.log_end()[0]}


@pytest.mark.servers
def test_too_much_to_add_is_refused(
    remote: str, indexed_items: dict[str, Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LONGEST_TAIL", 1)
    with pytest.raises(StoreUnavailable, match="is more than 1 changes behind"):
        answers()
    maintain_index()
    assert len(answers()) == 4


@pytest.mark.servers
def test_milvus_that_dies_is_missed_by_searches_alone(
    milvus_server: Milvus, indexed_items: dict[str, Item], make_item: Callable[..., Item],
    client: Client, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(milvus, "REST", 0.0)
    with override_settings(MMSEARCH_VECTOR_STORE=milvus_server.url):
        maintain_index()
        assert len(answers()) == 4
        milvus_server.kill()

        refused = client.get("/api/v1/search/?q=red")
        assert refused.status_code == 503
        assert f"{milvus_server.url} does not answer" in refused.json()["detail"]
        make_item(item_id="later", colour="purple")
        worker.drain()
        maintain_index()

        milvus_server.start()  # it loads its collections after it answers

        def answers_again() -> bool:
            return client.get("/api/v1/search/?q=red").status_code == 200

        wait_until(answers_again, "searches to be answered again")
        assert {name for name, _ in answers()} == {"red", "green", "blue", "words", "later"}
        maintain_index()
        call_command("check_index", stdout=io.StringIO())
        for row in StorePosition.objects.select_related("space"):
            engine_of(row.space, Modality(row.modality), row.store).drop()


@pytest.mark.servers
def test_a_server_that_is_not_there_makes_searches_wait_once(
    indexed_items: dict[str, Item], client: Client
) -> None:
    space = require_active_space()
    end, _ = active_index().log_end()
    for modality in Modality:
        StorePosition.objects.create(store=NOWHERE, space=space, modality=modality, applied_seq=end)
    with override_settings(MMSEARCH_VECTOR_STORE=NOWHERE):
        first, second = (client.get("/api/v1/search/?q=red") for _ in range(2))
    assert (first.status_code, second.status_code) == (503, 503)
    assert "did not answer a moment ago" in second.json()["detail"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("qdrant", "MMSEARCH_VECTOR_STORE='qdrant' names no vector store."),
        (
            "pgvector",
            "MMSEARCH_VECTOR_STORE=pgvector needs PostgreSQL, and the database is another.",
        ),
    ],
)
def test_checks_name_what_is_wrong(name: str, told: str) -> None:
    databases = {
        "default": {**settings.DATABASES["default"], "ENGINE": "django.db.backends.sqlite3"}
    }
    per_space.reset()
    with override_settings(MMSEARCH_VECTOR_STORE=name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "DATABASES", databases)
        messages = [message.msg for message in run_checks()]
    assert any(message.startswith(told) for message in messages)


def test_a_reserve_keeps_what_comes_first_and_knows_when_that_is_not_enough() -> None:
    ids = np.arange(1, 10_001)
    everything = Reserve.empty().after(ids, ids[:0])
    assert (everything.ids.size, everything.is_all, everything.is_enough) == (2048, False, True)
    assert everything.after(ids[:0], everything.ids[1024:]).is_enough
    few = everything.after(ids[:0], everything.ids[1000:])
    assert not few.is_enough
    assert few.after(ids, ids[:0]).ids.tolist() == few.ids.tolist()
    assert Reserve.empty().after(ids[:5], ids[:0]).is_all
