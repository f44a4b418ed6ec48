from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import OperationalError, connection
from pytest_django import DjangoAssertNumQueries

from catalog.ingest import ItemRecord, OutcomeKind, ingest_one
from catalog.models import Item
from embeddings import jobs, states, worker
from embeddings.backends import encoder_of
from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingJob, VectorChange
from embeddings.spaces import require_active_space
from embeddings.states import ItemState
from tests.encoders import POISON
from tests.processes import wait_until


def state_of(item: Item) -> tuple[str, str]:
    found = states.with_state(Item.objects.filter(pk=item.pk)).get()
    return found.state, found.error  # type: ignore[attr-defined]


def test_drain_writes_one_unit_vector_a_modality(make_item: Callable[..., Item]) -> None:
    item = make_item(colour="red", caption="red thing")

    assert worker.drain() == worker.DrainReport(indexed=1, failed=0)

    rows = Embedding.objects.order_by("modality")
    assert [(row.item_id, row.modality) for row in rows] == [(item.pk, "image"), (item.pk, "text")]
    assert [float(np.linalg.norm(row.as_array())) for row in rows] == pytest.approx(
        [1, 1], abs=1e-3
    )
    assert rows[1].as_array() == pytest.approx(
        encoder_of(require_active_space()).encode(Modality.TEXT, ["red thing"])[0], abs=1e-3
    )
    changes = VectorChange.objects.values_list("modality", "vector_item")
    assert sorted(changes) == [("image", item.pk), ("text", item.pk)]
    assert not EmbeddingJob.objects.exists()
    assert state_of(item) == (ItemState.INDEXED, "")


def test_a_broken_picture_fails_alone_and_says_why(make_item: Callable[..., Item]) -> None:
    good, bad = make_item(colour="red"), make_item(colour="green")
    with bad.image.storage.open(str(bad.image), "wb") as stream:
        stream.write(b"no picture any more")

    assert worker.drain() == worker.DrainReport(indexed=1, failed=1)
    assert state_of(good) == (ItemState.INDEXED, "")
    assert state_of(bad)[0] == ItemState.PENDING
    assert "The picture cannot be read" in EmbeddingJob.objects.get().error


def test_a_missing_picture_ends_as_failed_with_a_reason(make_item: Callable[..., Item]) -> None:
    item = make_item(colour="red")
    item.image.storage.delete(str(item.image))
    for _ in range(jobs.MAX_ATTEMPTS):
        EmbeddingJob.objects.update(run_after="2000-01-01T00:00Z")
        worker.drain()

    state, error = state_of(item)
    assert state == ItemState.FAILED
    assert error.startswith("The picture cannot be read:")


def test_a_text_that_the_model_refuses_fails_alone(make_item: Callable[..., Item]) -> None:
    good = [make_item(caption=f"fine {n}") for n in range(3)]
    bad = make_item(caption=f"this is {POISON}")

    assert worker.drain() == worker.DrainReport(indexed=3, failed=1)
    for _ in range(jobs.MAX_ATTEMPTS):
        EmbeddingJob.objects.filter(failed_at=None).update(run_after="2000-01-01T00:00Z")
        worker.drain()

    assert {state_of(item) for item in good} == {(ItemState.INDEXED, "")}
    assert state_of(bad) == (ItemState.FAILED, "The model failed: This text is poison.")


@pytest.mark.django_db(transaction=True)
def test_an_edit_during_embedding_stays_pending(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(caption="before")
    encoder = encoder_of(require_active_space())
    encode = encoder.encode

    def edit_meanwhile(modality: Modality, texts: list[str]) -> Any:
        monkeypatch.undo()
        edited = Item.objects.get(pk=item.pk)
        edited.caption = "after"
        edited.save()
        connection.close()
        return encode(modality, texts)

    monkeypatch.setattr(encoder, "encode", edit_meanwhile)
    worker.drain()

    # The drain that was interrupted by the edit committed nothing of the old caption.
    worker.drain()
    assert state_of(item) == (ItemState.INDEXED, "")
    assert Embedding.objects.get().as_array() == pytest.approx(
        encode(Modality.TEXT, ["after"])[0], abs=1e-3
    )


@pytest.mark.django_db(transaction=True)
def test_a_deletion_during_embedding_leaves_nothing(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(caption="short life")
    encoder = encoder_of(require_active_space())
    encode = encoder.encode

    def delete_meanwhile(modality: Modality, texts: list[str]) -> Any:
        Item.objects.filter(pk=item.pk).delete()
        connection.close()
        return encode(modality, texts)

    monkeypatch.setattr(encoder, "encode", delete_meanwhile)

    assert worker.drain() == worker.DrainReport(0, 0)
    assert not Embedding.objects.exists()
    assert not EmbeddingJob.objects.exists()


def test_a_caption_taken_away_takes_its_vector_away(make_item: Callable[..., Item]) -> None:
    item = make_item(colour="red", caption="red thing")
    worker.drain()
    item.refresh_from_db()
    item.caption = ""
    item.save()
    worker.drain()

    assert list(Embedding.objects.values_list("modality", flat=True)) == ["image"]
    assert VectorChange.objects.order_by("-seq").values_list("modality", flat=True)[0] == "text"


def test_deleting_an_item_logs_its_removal(indexed_items: dict[str, Item]) -> None:
    item = indexed_items["red"]
    pk, before = item.pk, VectorChange.objects.order_by("-seq").first()
    item.delete()

    assert before is not None
    added = VectorChange.objects.filter(seq__gt=before.seq)
    assert list(added.values_list("modality", "vector_item")) == [("image", pk)]


def test_drain_ends_with_the_batch_in_work_when_asked_to(make_item: Callable[..., Item]) -> None:
    for _ in range(worker.BATCH_SIZE + 1):
        make_item()

    report = worker.drain(until=lambda: True)

    assert report.indexed == worker.BATCH_SIZE
    assert worker.drain().indexed == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_in_work_beside_a_suspect(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_item(caption="first"), make_item(caption="second")
    for _ in range(worker.BATCH_SIZE):
        make_item()
    EmbeddingJob.objects.filter(item__in=[first, second]).update(error=jobs.SUSPECTED)
    encoder = encoder_of(require_active_space())
    encode = encoder.encode
    in_work: dict[tuple[str, ...], int] = {}

    def look(modality: Modality, texts: list[str]) -> Any:
        in_work[tuple(texts)] = EmbeddingJob.objects.filter(claimed_until__isnull=False).count()
        connection.close()
        return encode(modality, texts)

    monkeypatch.setattr(encoder, "encode", look)
    assert worker.drain().indexed == worker.BATCH_SIZE + 2
    assert list(in_work.values()) == [1, 1, worker.BATCH_SIZE]


@pytest.mark.django_db(transaction=True)
def test_the_lease_is_renewed_while_the_encoder_works(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=0.3))
    item = make_item(caption="takes long")
    encoder = encoder_of(require_active_space())
    encode = encoder.encode

    def take_long(modality: Modality, texts: list[str]) -> Any:
        first = EmbeddingJob.objects.get().claimed_until
        wait_until(lambda: EmbeddingJob.objects.get().claimed_until != first, "a longer lease")
        connection.close()
        return encode(modality, texts)

    monkeypatch.setattr(encoder, "encode", take_long)
    assert worker.drain().indexed == 1
    assert state_of(item) == (ItemState.INDEXED, "")


def test_a_batch_that_cannot_be_written_is_given_back(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_item(caption="healthy")

    def full(*_: object) -> int:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(worker, "_commit", full)
    with pytest.raises(OperationalError):
        worker.drain()

    job = EmbeddingJob.objects.get()
    assert (job.claimed_by, job.claimed_until, job.attempts, job.error) == ("", None, 0, "")


@pytest.mark.parametrize("count", [1, 3, 20])
def test_queries_do_not_grow_with_the_batch(
    make_item: Callable[..., Item],
    count: int,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(count):
        make_item()
    with django_assert_max_num_queries(30):
        worker.drain()


def test_counts_add_up(make_item: Callable[..., Item]) -> None:
    for caption in ("one", "two", POISON):
        make_item(caption=caption)
        worker.drain()
    EmbeddingJob.objects.update(failed_at="2000-01-01T00:00Z")
    again = make_item(caption="three")
    jobs.re_embed([Item.objects.get(caption="one").pk])

    assert states.counts() == states.StateCounts(items=4, indexed=1, pending=2, failed=1)
    pending = states.in_state(Item.objects.all(), ItemState.PENDING)
    assert {item.caption for item in pending} == {"one", again.caption}


def test_a_vector_that_is_not_finite_is_refused_for_its_item_alone(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = make_item(caption="fine"), make_item(caption="broken")
    encoder = encoder_of(require_active_space())
    encode = encoder.encode

    def break_one(modality: Modality, texts: list[str]) -> Any:
        rows = encode(modality, texts).copy()
        rows[texts.index("broken"), 0] = np.nan
        return rows

    monkeypatch.setattr(encoder, "encode", break_one)
    assert worker.drain() == worker.DrainReport(indexed=1, failed=1)
    assert state_of(good) == (ItemState.INDEXED, "")
    job = EmbeddingJob.objects.get()
    assert job.item_id == bad.pk
    assert job.error == (
        "The model made a vector of the caption that is not finite (NaN or infinity)."
    )


class Encoded:
    """What the encoder was given, by modality."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: dict[str, int] = {}
        encoder = encoder_of(require_active_space())
        encode = encoder.encode

        def count(modality: Modality, inputs: list[Any]) -> Any:
            self.counts[modality] = self.counts.get(modality, 0) + len(inputs)
            return encode(modality, inputs)

        monkeypatch.setattr(encoder, "encode", count)

    def since(self) -> dict[str, int]:
        """Inputs since the last look."""
        counts, self.counts = self.counts, {}
        return counts


def test_what_is_left_as_it_is_is_not_encoded_again(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = Encoded(monkeypatch)
    make_item(item_id="both", colour="red", caption="one")
    make_item(item_id="words", caption="two")
    assert (worker.drain().indexed, encoded.since()) == (2, {"image": 1, "text": 2})
    picture = Embedding.objects.get(modality="image").pk
    position = VectorChange.objects.latest("seq").seq

    make_item(item_id="both", caption="three")
    assert (worker.drain().indexed, encoded.since()) == (1, {"text": 1})
    make_item(item_id="both", colour="blue")
    assert (worker.drain().indexed, encoded.since()) == (1, {"image": 1})
    make_item(item_id="both", caption="three", title="no part of it", category="c")
    assert (worker.drain().indexed, encoded.since()) == (0, {})
    both = Item.objects.get(item_id="both")
    changes = VectorChange.objects.filter(seq__gt=position).order_by("seq")
    assert [(change.modality, change.vector_item) for change in changes] == [
        ("text", both.pk),
        ("image", both.pk),
    ]
    assert Embedding.objects.get(modality="image").pk == picture
    hashes = Embedding.objects.filter(item=both).order_by("modality").values_list("content_hash")
    assert list(hashes) == [(both.image_hash,), (both.caption_hash,)]

    jobs.re_embed([both.pk])
    assert (worker.drain().indexed, encoded.since()) == (1, {"image": 1, "text": 1})


def test_a_picture_taken_away_takes_its_vector_away(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(item_id="both", colour="red", caption="one")
    worker.drain()
    encoded = Encoded(monkeypatch)

    assert ingest_one(ItemRecord(item_id="both", remove_image=True)).kind is OutcomeKind.UPDATED
    assert (worker.drain().indexed, encoded.since()) == (1, {})
    left = [(row.item_id, row.modality) for row in Embedding.objects.all()]
    assert left == [(item.pk, "text")]
    last = VectorChange.objects.latest("seq")
    assert (last.modality, last.vector_item) == ("image", item.pk)
    assert state_of(item) == (ItemState.INDEXED, "")


def test_an_edit_taken_back_before_it_is_embedded_encodes_nothing(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(item_id="a", caption="one")
    worker.drain()
    encoded = Encoded(monkeypatch)
    make_item(item_id="a", caption="two")
    make_item(item_id="a", caption="one")

    assert (worker.drain().indexed, encoded.since()) == (1, {})
    assert state_of(item) == (ItemState.INDEXED, "")
