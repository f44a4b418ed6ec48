from __future__ import annotations

import base64
import gc
import io
import itertools
import json
import re
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from pytest_django import DjangoCaptureOnCommitCallbacks
from pytest_django.fixtures import Settings

from catalog.ingest import (
    ItemRecord,
    LocalImage,
    Outcome,
    OutcomeKind,
    UploadedImage,
    ingest,
    ingest_one,
    open_source,
    pipeline,
    records_from_ndjson,
)
from catalog.ingest.images import open_preview
from catalog.ingest.writer import write
from catalog.models import Item, LinkedFolder, Tag, caption_digest
from catalog.signals import items_saved
from tests.catalog.pictures import corners, encoded, files, near, photo, turned
from tests.fuzz_pictures import interlaced_png

pytestmark = pytest.mark.django_db

NEW, UPDATED, UNCHANGED, REJECTED = OutcomeKind


@pytest.fixture
def saved() -> Iterator[list[list[str]]]:
    """Item ids of each `items_saved` signal."""
    sent: list[list[str]] = []

    def listen(item_ids: Sequence[int], **_: Any) -> None:
        assert connection.in_atomic_block
        ids = Item.objects.filter(pk__in=item_ids).order_by("pk").values_list("item_id", flat=True)
        sent.append(list(ids))

    items_saved.connect(listen)
    yield sent
    items_saved.disconnect(listen)


def kinds(outcomes: Iterable[Outcome]) -> list[OutcomeKind]:
    return [outcome.kind for outcome in outcomes]


def upload(image: Image.Image | None = None, filename: str = "") -> UploadedImage:
    return UploadedImage(data=encoded(image or photo()), filename=filename)


# ── what a record does ──────────────────────────────────────────────────────────────────────────


def test_ingest_stores_a_record(saved: list[list[str]], media: Path) -> None:
    outcome = ingest_one(
        ItemRecord(
            item_id="cat 1",
            title="Cat",
            caption="A cat.",
            tags=("pet", "animal"),
            category="animals",
            image=upload(filename="C:\\photos\\Tom.JPEG"),
            line=4,
        )
    )
    item = Item.objects.get()
    assert outcome == Outcome(kind=NEW, item_id="cat 1", pk=item.pk, line=4)
    assert (item.item_id, item.title, item.caption) == ("cat 1", "Cat", "A cat.")
    assert sorted(tag.name for tag in item.tags.all()) == ["animal", "pet"]
    assert (item.category, item.original_filename) == ("animals", "Tom.JPEG")
    assert (item.width, item.height, item.preview.name) == (64, 48, "")
    assert item.caption_hash == caption_digest(item.caption)
    assert files(media) == [item.image.name]
    plain = f"images/{item.image_hash[:2]}/cat_1_{item.image_hash[:12]}"
    assert re.fullmatch(rf"{plain}_\w{{7}}\.jpg", item.image.name or "")
    assert near(corners(open_preview(item)), corners(photo()))
    assert saved == [["cat 1"]]


def test_ingest_stores_a_preview_beside_a_picture_that_needs_one(media: Path) -> None:
    ingest_one(ItemRecord(item_id="a", image=UploadedImage(data=turned(photo(1200, 900), 6))))
    item = Item.objects.get()
    assert (item.width, item.height) == (900, 1200)
    assert files(media) == sorted([item.image.name or "", item.preview.name or ""])
    assert open_preview(item).size == (448, 597)


def test_ingest_says_that_a_picture_was_taken_by_its_content() -> None:
    outcome = ingest_one(ItemRecord(item_id="a", image=upload(filename="cat.png")))
    assert (outcome.kind, outcome.note) == (
        NEW,
        "'cat.png' was taken as JPEG, which it holds; its name says PNG.",
    )
    assert Path(Item.objects.get().image.path).suffix == ".jpg"


def test_ingest_keeps_nothing_of_refused_pictures() -> None:
    late = UploadedImage(data=interlaced_png(600, 600, kept=0.99))
    batch: list[ItemRecord | Outcome] = [ItemRecord(item_id=f"{n}", image=late) for n in range(9)]
    with ThreadPoolExecutor(2) as pool:
        slots = pipeline._start(batch, pool, store=False)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is PngImageFile]
    assert kinds(pipeline._finish(slots, dry_run=True)) == [REJECTED] * 9


def test_ingest_takes_a_phones_heic(media: Path) -> None:
    data = encoded(photo(640, 480), "HEIF", quality=90)
    outcome = ingest_one(
        ItemRecord(item_id="a", image=UploadedImage(data=data, filename="IMG_1.HEIC"))
    )
    item = Item.objects.get()
    assert (outcome.kind, outcome.note, item.width, item.height) == (NEW, "", 640, 480)
    assert Path(item.image.path).read_bytes() == data
    assert Path(item.image.path).suffix == ".heic"
    assert near(corners(open_preview(item)), corners(photo(640, 480)))


def test_ingest_gives_an_id_to_a_record_without_one() -> None:
    outcomes = list(ingest([ItemRecord(caption="x"), ItemRecord(caption="x")]))
    assert kinds(outcomes) == [NEW, NEW]
    assert all(outcome.item_id.startswith("item_") for outcome in outcomes)


def test_ingest_updates_what_is_given_and_keeps_the_rest(saved: list[list[str]]) -> None:
    ingest_one(
        ItemRecord(item_id="a", caption="one", title="T", tags=("x",), category="c", image=upload())
    )
    before = Item.objects.get()
    saved.clear()
    assert ingest_one(ItemRecord(item_id="a", title="New")).kind == UPDATED
    assert saved == []  # a title is not embedded
    after = Item.objects.get()
    assert (after.title, after.caption, after.category) == ("New", "one", "c")
    assert (after.image.name, after.created_at) == (before.image.name, before.created_at)
    assert after.updated_at > before.updated_at
    assert ingest_one(ItemRecord(item_id="a", caption="two")).kind == UPDATED
    assert saved == [["a"]]
    assert Item.objects.get().caption_hash == caption_digest(Item.objects.get().caption)


def test_ingest_clears_what_is_given_empty() -> None:
    ingest_one(ItemRecord(item_id="a", caption="one", title="T", tags=("x",), image=upload()))
    assert ingest_one(ItemRecord(item_id="a", caption="", title=" ", tags=())).kind == UPDATED
    item = Item.objects.get()
    assert (item.caption, item.title, item.tags.count()) == ("", "", 0)


def test_ingest_twice_changes_nothing(saved: list[list[str]], media: Path, tmp_path: Path) -> None:
    (tmp_path / "big.jpg").write_bytes(encoded(photo(1000, 800)))
    records = [
        ItemRecord(item_id="a", caption="one", tags=("x", "y"), title="T"),
        ItemRecord(item_id="b", image=upload(filename="b.jpg"), tags=()),
        ItemRecord(item_id="c", image=LocalImage(path=tmp_path / "big.jpg")),
    ]
    assert kinds(ingest(records)) == [NEW, NEW, NEW]
    rows, stored = list(Item.objects.values()), files(media)
    saved.clear()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        again = list(ingest(records))
    assert kinds(again) == [UNCHANGED] * 3
    assert [outcome.pk for outcome in again] == [row["id"] for row in reversed(rows)]
    assert list(Item.objects.values()) == rows
    assert (files(media), saved) == (stored, [])
    assert [q["sql"].split()[0] for q in queries.captured_queries] == ["SELECT"] * 3


def test_ingest_replaces_a_picture_and_deletes_the_old_files_after_commit(
    saved: list[list[str]],
    media: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    ingest_one(ItemRecord(item_id="a", image=upload(photo(1000, 800))))
    old = files(media)
    with django_capture_on_commit_callbacks(execute=True):
        assert ingest_one(ItemRecord(item_id="a", image=upload(photo(30, 20)))).kind == UPDATED
        assert set(old) < set(files(media))
    item = Item.objects.get()
    assert files(media) == [item.image.name]
    assert (item.width, item.preview.name) == (30, "")
    assert saved == [["a"], ["a"]]


def test_ingest_stores_again_what_was_lost_from_disk(media: Path, saved: list[list[str]]) -> None:
    ingest_one(ItemRecord(item_id="a", image=upload(photo(1000, 800))))
    saved.clear()
    Path(Item.objects.get().preview.path).unlink()
    assert ingest_one(ItemRecord(item_id="a", image=upload(photo(1000, 800)))).kind == UPDATED
    assert open_preview(Item.objects.get()).size == (560, 448)
    assert saved == []  # the same content


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        (
            ItemRecord(),
            "caption",
            "An item needs a caption or an image; this one would have neither.",
        ),
        (ItemRecord(caption=" \t\n", title="x"), "caption", "An item needs a caption or an image"),
        (ItemRecord(caption="a\x00b"), "caption", "Character 2 of the caption is a null byte"),
        (ItemRecord(caption="x" * 100_000), "caption", "The caption has 100,000 characters"),
        (ItemRecord(item_id="a/b", caption="x"), "item_id", "The item id 'a/b' holds"),
        (ItemRecord(image=UploadedImage(data=b"")), "image", "The file is empty (0 bytes)."),
        (
            ItemRecord(image=UploadedImage(data=b"<svg/>", filename="x.svg")),
            "image",
            "'x.svg' is an SVG drawing.",
        ),
        (
            ItemRecord(caption="fine", image=LocalImage(path=Path("/nonexistent/cat.jpg"))),
            "image",
            "'cat.jpg' cannot be read: No such file or directory.",
        ),
    ],
)
def test_ingest_rejects_a_bad_record_alone(
    record: ItemRecord, field: str, reason: str, media: Path
) -> None:
    good = ItemRecord(caption="good")
    outcomes = list(ingest([good, record, good]))
    assert kinds(outcomes) == [NEW, REJECTED, NEW]
    assert outcomes[1].field == field
    assert outcomes[1].reason.startswith(reason)
    assert (Item.objects.count(), files(media)) == (2, [])


def test_ingest_rejects_an_update_that_would_empty_the_item() -> None:
    ingest_one(ItemRecord(item_id="a", caption="one"))
    assert ingest_one(ItemRecord(item_id="a", caption="")).kind == REJECTED
    assert Item.objects.get().caption == "one"


def test_ingest_says_when_a_picture_has_too_many_bytes(settings: Settings) -> None:
    settings.MMSEARCH_MAX_UPLOAD_BYTES = 1000
    large, broken = ingest(
        [
            ItemRecord(image=UploadedImage(data=io.BytesIO(bytes(1001)))),
            ItemRecord(image=UploadedImage(data=bytes(1000))),
        ]
    )
    assert (large.kind, large.field, large.too_large) == (REJECTED, "image", True)
    assert (broken.kind, broken.too_large) == (REJECTED, False)


def test_ingest_cleans_the_original_filename() -> None:
    names = {"../../etc/x.jpg": "x.jpg", "a\x00\ud800.jpg": "a?.jpg", "é" * 300 + ".jpg": ""}
    for number, name in enumerate(names):
        ingest_one(ItemRecord(item_id=str(number), image=upload(filename=name)))
    stored = Item.objects.order_by("pk").values_list("original_filename", flat=True)
    assert list(stored) == ["x.jpg", "a?.jpg", "é" * 251 + ".jpg"]


# ── a linked folder ─────────────────────────────────────────────────────────────────────────────


def test_ingest_links_pictures_where_they_are(media: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (album / name).write_bytes(encoded(photo(64, 48)))
    (album / "big.jpg").write_bytes(encoded(photo(1000, 800)))
    source = open_source(album, link=True)
    assert kinds(ingest(source, dry_run=True)) == [NEW] * 3
    assert LinkedFolder.objects.count() == 0
    assert kinds(ingest(source)) == [NEW] * 3
    folder = LinkedFolder.objects.get()
    assert folder.path == str(album)
    names = list(Item.objects.order_by("pk").values_list("image", flat=True))
    assert names == [f"linked/{folder.pk}/{name}" for name in ("a.jpg", "b.jpg", "big.jpg")]
    assert files(media) == [Item.objects.get(item_id="big.jpg").preview.name]
    assert near(corners(open_preview(Item.objects.get(item_id="a.jpg"))), corners(photo()))
    assert kinds(ingest(source)) == [UNCHANGED] * 3
    Item.objects.get(item_id="a.jpg").delete()
    assert (album / "a.jpg").exists()


def test_ingest_moves_between_linked_and_copied(media: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    (album / "a.jpg").write_bytes(encoded(photo()))
    assert kinds(ingest(open_source(album, link=True))) == [NEW]
    assert kinds(ingest(open_source(album))) == [UPDATED]
    assert Item.objects.get().image.name.startswith("images/")  # type: ignore[union-attr]
    assert kinds(ingest(open_source(album, link=True))) == [UPDATED]
    assert Item.objects.get().image.name.startswith("linked/")  # type: ignore[union-attr]


# ── many records ────────────────────────────────────────────────────────────────────────────────


def test_ingest_yields_outcomes_in_the_order_of_records() -> None:
    refused = Outcome(kind=REJECTED, line=3, reason="passed on")
    records: list[ItemRecord | Outcome] = [
        ItemRecord(item_id="slow", image=upload(photo(2000, 1500)), line=1),
        ItemRecord(item_id="bad", image=UploadedImage(data=b"x"), line=2),
        refused,
        ItemRecord(item_id="quick", caption="x", line=4),
        ItemRecord(item_id="slow", caption="now with words", line=5),
    ]
    for size in (1, 2, 100):
        outcomes = list(ingest(records, batch_size=size))
        assert [outcome.line for outcome in outcomes] == [1, 2, 3, 4, 5]
        assert outcomes[2] is refused
        expected = [NEW, REJECTED, REJECTED, NEW, UPDATED]
        assert kinds(outcomes) == expected
        Item.objects.all().delete()


def test_ingest_applies_rows_of_one_id_one_after_the_other() -> None:
    records = [
        ItemRecord(item_id="a", caption="one"),
        ItemRecord(item_id="a", caption="two"),
        ItemRecord(item_id="a", caption="two"),
        ItemRecord(item_id=" a ", caption="three", image=upload(photo(20, 20))),
        ItemRecord(item_id="a", image=upload(photo(30, 30))),
        ItemRecord(item_id="a", image=upload(photo(20, 20))),
    ]
    assert kinds(ingest(records)) == [NEW, UPDATED, UNCHANGED, UPDATED, UPDATED, UPDATED]
    item = Item.objects.get()
    assert (item.caption, item.width) == ("three", 20)


def test_ingest_prepares_again_a_picture_that_changed_meanwhile() -> None:
    """Row 3 finds in the database the picture that row 2 is about to replace."""
    first, second = photo(20, 20), photo(30, 30)
    ingest_one(ItemRecord(item_id="a", image=upload(first)))
    records = [
        ItemRecord(item_id="a", image=upload(second)),
        ItemRecord(item_id="a", image=upload(first)),
    ]
    assert kinds(ingest(records)) == [UPDATED, UPDATED]
    assert open_preview(Item.objects.get()).size == (20, 20)


def test_ingest_is_lazy_about_an_endless_source() -> None:
    read = 0

    def endless() -> Iterator[ItemRecord]:
        nonlocal read
        for read in itertools.count(1):
            yield ItemRecord(item_id=f"r{read}", caption="x")

    outcomes = ingest(endless(), batch_size=10)
    assert [next(outcomes).item_id for _ in range(25)] == [f"r{n}" for n in range(1, 26)]
    assert read <= 25 + 3 * 10
    outcomes.close()
    assert Item.objects.count() == 30


@pytest.mark.parametrize(("dry_run", "rows"), [(True, 20_000), (False, 2_000)])
def test_ingest_holds_no_more_memory_after_all_rows_than_after_a_tenth(
    dry_run: bool, rows: int
) -> None:
    records = (
        ItemRecord(item_id=f"r{n}", caption=f"caption {n} " + "x" * 500, tags=(f"t{n % 9}",))
        for n in range(rows)
    )
    held = []
    tracemalloc.start()
    for number, outcome in enumerate(ingest(records, batch_size=50, dry_run=dry_run), 1):
        assert outcome.kind == NEW
        if number in {rows // 10, rows}:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[1] < held[0] + 100_000


def test_ingest_bounds_the_uploaded_bytes_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MAX_BATCH_BYTES", 3000)
    read = 0

    def uploads() -> Iterator[ItemRecord]:
        nonlocal read
        for read in range(1, 31):  # noqa: B007  counted outside
            yield ItemRecord(image=UploadedImage(data=bytes(1000)))

    outcomes = ingest(uploads(), batch_size=1000)
    next(outcomes)
    assert read <= 9  # two batches of three, and the next record
    assert len(list(outcomes)) == 29


def test_the_first_pictures_are_stored_while_others_are_still_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "MAX_BATCH_PICTURES", 3)
    read = 0

    def uploads() -> Iterator[ItemRecord]:
        nonlocal read
        for read in range(1, 31):
            yield ItemRecord(image=UploadedImage(data=encoded(photo(16, read))))

    outcomes = ingest(uploads())
    next(outcomes)
    assert read <= 7  # two batches of three, and the next record
    assert Item.objects.count() == 3
    assert len(list(outcomes)) == 29


@pytest.mark.parametrize("change", ["new", "unchanged", "caption", "tags", "image"])
def test_ingest_queries_do_not_grow_with_the_batch(
    change: str,
) -> None:
    def records(count: int, *, changed: bool) -> list[ItemRecord]:
        return [
            ItemRecord(
                item_id=f"r{n}",
                caption="two" if changed and change == "caption" else "one",
                tags=("a", f"{'n' if changed and change == 'tags' else 't'}{n}"),
                image=upload(photo(9 if changed and change == "image" else 8, 8)),
            )
            for n in range(count)
        ]

    def queries(count: int) -> int:
        Item.objects.all().delete()
        Tag.objects.all().delete()
        if change != "new":
            list(ingest(records(count, changed=False)))
        with CaptureQueriesContext(connection) as captured:
            list(ingest(records(count, changed=True)))
        return len(captured)

    assert queries(3) == queries(12)


def test_ingest_dry_run_says_what_would_happen_and_writes_nothing(media: Path) -> None:
    ingest_one(ItemRecord(item_id="a", caption="one", image=upload()))
    rows, stored = list(Item.objects.values()), files(media)
    records = [
        ItemRecord(item_id="a", caption="two"),
        ItemRecord(item_id="a", image=upload()),
        ItemRecord(item_id="b", image=upload(photo(900, 900)), tags=("new",)),
        ItemRecord(item_id="c"),
    ]
    outcomes = list(ingest(records, dry_run=True))
    assert kinds(outcomes) == [UPDATED, UNCHANGED, NEW, REJECTED]
    assert outcomes[2].pk is None
    assert (list(Item.objects.values()), files(media), Tag.objects.count()) == (rows, stored, 0)


def test_ingest_refuses_a_batch_of_nothing() -> None:
    with pytest.raises(ValueError, match=r"^batch_size=0 is not a positive number\.$"):
        next(ingest([], batch_size=0))


# ── when something fails ────────────────────────────────────────────────────────────────────────


def test_ingest_stores_what_came_before_the_source_failed() -> None:
    def failing() -> Iterator[ItemRecord]:
        yield ItemRecord(item_id="a", caption="x")
        yield ItemRecord(item_id="b", caption="x")
        raise OSError("the disk is gone")

    outcomes = ingest(failing(), batch_size=1)
    assert [next(outcomes).item_id, next(outcomes).item_id] == ["a", "b"]
    with pytest.raises(OSError, match="the disk is gone"):
        next(outcomes)
    assert Item.objects.count() == 2


def test_ingest_closed_early_leaves_no_file_without_a_row(media: Path) -> None:
    records = [ItemRecord(item_id=f"r{n}", image=upload(photo(600 + n, 600))) for n in range(9)]
    outcomes = ingest(records, batch_size=3)
    next(outcomes)
    outcomes.close()
    named = {name for item in Item.objects.all() for name in (item.image.name, item.preview.name)}
    assert set(files(media)) == named
    assert Item.objects.count() == 3


def test_ingest_rolls_back_rows_and_files_where_a_receiver_fails(media: Path) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("the queue is gone")

    items_saved.connect(fail)
    try:
        with pytest.raises(RuntimeError, match="the queue is gone"):
            ingest_one(ItemRecord(item_id="a", image=upload(photo(900, 900)), tags=("t",)))
    finally:
        items_saved.disconnect(fail)
    assert (Item.objects.count(), Tag.objects.count(), files(media)) == (0, 0, [])


REFUSING_BAD_TITLES = {
    "sqlite": """
        CREATE TRIGGER refuse BEFORE INSERT ON catalog_item WHEN NEW.title = 'bad'
        BEGIN SELECT RAISE(ABORT, 'no bad titles'); END
    """,
    "postgresql": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'no bad titles' USING ERRCODE = 'check_violation'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON catalog_item FOR EACH ROW
        WHEN (NEW.title = 'bad') EXECUTE FUNCTION refuse()
    """,
}


def test_ingest_writes_a_failing_batch_one_by_one(media: Path) -> None:
    """A trigger stands for whatever constraint a database may add."""
    with connection.cursor() as cursor:
        cursor.execute(REFUSING_BAD_TITLES[connection.vendor])
    records = [
        ItemRecord(item_id=f"r{n}", title="bad" if n == 2 else "", image=upload(photo(600, 600)))
        for n in range(5)
    ]
    outcomes = list(ingest(records))
    assert kinds(outcomes) == [NEW, NEW, REJECTED, NEW, NEW]
    assert outcomes[2].reason == "The database refused it: no bad titles"
    named = {name for item in Item.objects.all() for name in (item.image.name, item.preview.name)}
    assert (len(named), set(files(media))) == (8, named)


def test_ingest_asks_a_locked_database_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def locked(batch: Any, *, dry_run: bool) -> list[Outcome]:
        tries.append(len(batch))
        if len(tries) < pipeline.LOCKED_ATTEMPTS:
            raise OperationalError("database is locked")
        return write(batch, dry_run=dry_run)

    monkeypatch.setattr(pipeline, "write", locked)
    monkeypatch.setattr(pipeline, "connection", type("", (), {"in_atomic_block": False}))
    assert ingest_one(ItemRecord(caption="x")).kind == NEW
    assert tries == [1, 1, 1]


# ── the bulk body ───────────────────────────────────────────────────────────────────────────────


def test_ndjson_is_read_as_it_arrives() -> None:
    class Body:
        """A request whose client waits after the second line."""

        def __init__(self) -> None:
            self.lines = [b'{"item_id": "a", "caption": "x"}\n', b"nonsense\n"]

        def readline(self, size: int = -1) -> bytes:
            assert size > 0
            return self.lines.pop(0)

    records = records_from_ndjson(Body())
    assert [next(records).item_id, next(records).item_id] == ["a", ""]


def test_ndjson_takes_pictures_as_base64() -> None:
    picture = base64.b64encode(encoded(photo())).decode()
    lines = [
        {"item_id": "a", "image": picture, "image_filename": "cat.jpg"},
        {"item_id": "b", "image": f"data:image/jpeg;base64,{picture}"},
        {"item_id": "c", "image": "no base64!", "caption": "x"},
        {"item_id": "d", "image_filename": "cat.jpg", "caption": "x"},
        {"item_id": "e", "image": picture, "image_filename": "cat.png"},
        {"image": picture, "caption": "without id"},
        {"image": 7},
    ]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    outcomes = list(ingest(records_from_ndjson(io.BytesIO(body))))
    assert kinds(outcomes) == [NEW, NEW, REJECTED, REJECTED, NEW, NEW, REJECTED]
    assert [o.field for o in outcomes] == ["", "", "image", "image", "", "", "image"]
    assert [o.line for o in outcomes] == [1, 2, 3, 4, 5, 6, 7]
    again = list(ingest(records_from_ndjson(io.BytesIO(body))))
    assert kinds(again)[5] == UNCHANGED
    assert again[5].item_id == outcomes[5].item_id


def test_ndjson_refuses_an_endless_line(settings: Settings) -> None:
    settings.MMSEARCH_MAX_UPLOAD_BYTES = 1000
    body = io.BytesIO(b'{"caption": "' + b"x" * 4_000_000 + b'"}\n{"caption": "y"}\n')
    outcomes = list(ingest(records_from_ndjson(body)))
    assert kinds(outcomes) == [REJECTED, NEW]
    assert outcomes[0].reason == "The line is longer than 1,049,909 bytes, the limit."
