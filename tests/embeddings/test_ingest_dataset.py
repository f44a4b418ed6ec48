from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from catalog.ingest import ItemRecord
from catalog.models import Item
from embeddings import states
from embeddings.management import ingestion
from embeddings.management import progress as progress_module
from embeddings.management.progress import Progress
from embeddings.models import EmbeddingJob, EmbeddingSpace
from tests.catalog.pictures import encoded, files, photo
from tests.encoders import POISON
from tests.processes import PATIENCE, ROOT, Installation, kill_tree, wait_until


@pytest.fixture
def media(tmp_path: Path, settings: Settings) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def dataset(tmp_path: Path, media: Path) -> Path:
    """Three good rows, one without its picture, one without anything."""
    (tmp_path / "cat.jpg").write_bytes(encoded(photo()))
    path = tmp_path / "metadata.csv"
    path.write_text(
        "id,image_filename,caption,title,tags,category\n"
        'item1,cat.jpg,A cat,Cat,"cat,pet",Animals\n'
        "item2,dog.jpg,A dog,Dog,,Animals\n"
        "item3,,A red sunset,,,Nature\n"
        "item4,,,Nothing,,\n"
        "item5,,blue,,,\n"
    )
    return path


def run(*arguments: str | Path, status: int = 0) -> str:
    """Run the command in this process; returns what it printed."""
    out = io.StringIO()
    code = 0
    try:
        call_command("ingest_dataset", *map(str, arguments), stdout=out)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == status
    return out.getvalue()


def failure(*arguments: str | Path) -> CommandError:
    with pytest.raises(CommandError) as error:
        call_command("ingest_dataset", *map(str, arguments), stdout=io.StringIO())
    return error.value


def summary(printed: str) -> str:
    """The sentence that counts outcomes, without the time that it took."""
    (line,) = [line for line in printed.splitlines() if " rows in " in line]
    return line.partition(": ")[2]


@pytest.mark.usefixtures("db")
def test_command_ingests_reports_and_names_the_rejected(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = tmp_path / "errors.jsonl"
    printed = run(dataset, "--errors", errors, status=1)
    assert summary(printed) == "3 new, 0 updated, 0 unchanged, 2 rejected."
    assert sorted(Item.objects.values_list("item_id", flat=True)) == ["item1", "item3", "item5"]
    lines = [json.loads(line) for line in errors.read_text().splitlines()]
    neither = "An item needs a caption or an image; this one would have neither."
    assert lines == [
        {
            "line": 3,
            "id": "item2",
            "field": "image",
            "reason": f"There is no file 'dog.jpg' in {tmp_path}.",
        },
        {"line": 5, "id": "item4", "field": "caption", "reason": neither},
    ]
    assert f"Rejected, line 5: {neither}\n" in capsys.readouterr().err


@pytest.mark.usefixtures("db")
def test_of_a_folder_the_item_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "Tabby.jpg").write_bytes(b"no picture")
    run(tmp_path, status=1)
    assert "Rejected, cats:Tabby.jpg: " in capsys.readouterr().err


@pytest.mark.usefixtures("space")
def test_command_run_again_changes_nothing(dataset: Path, media: Path) -> None:
    run(dataset, status=1)
    rows, jobs = list(Item.objects.values()), list(EmbeddingJob.objects.values())
    stored = files(media)
    assert len(jobs) == 3
    assert summary(run(dataset, status=1)) == "0 new, 0 updated, 3 unchanged, 2 rejected."
    assert list(Item.objects.values()) == rows
    assert list(EmbeddingJob.objects.values()) == jobs
    assert files(media) == stored


@pytest.mark.usefixtures("db")
def test_command_says_that_nothing_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "caption": "x"}\n')
    assert summary(run(path)) == "1 new, 0 updated, 0 unchanged, 0 rejected."
    assert summary(run(path)) == "0 new, 0 updated, 1 unchanged, 0 rejected. Nothing has changed."
    path.write_text('{"id": "a", "caption": "y"}\n')
    assert summary(run(path)) == "0 new, 1 updated, 0 unchanged, 0 rejected."


@pytest.mark.usefixtures("db")
def test_command_dry_run_writes_nothing(dataset: Path, media: Path) -> None:
    printed = run(dataset, "--dry-run", "--wait", status=1)
    assert summary(printed) == (
        "3 new, 0 updated, 0 unchanged, 2 rejected. This was a dry run: nothing was written."
    )
    assert (Item.objects.count(), files(media)) == (0, [])


@pytest.mark.usefixtures("db")
def test_command_links_a_folder(tmp_path: Path, media: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    (album / "cat.jpg").write_bytes(encoded(photo()))
    (album / "cat.txt").write_text("A cat")
    (album / "notes.doc").write_text("x")
    printed = run(album, "--link")
    assert "1 files that are no pictures were passed over.\n" in printed
    item = Item.objects.get(item_id="cat.jpg")
    assert (item.caption, item.image.path) == ("A cat", str(album / "cat.jpg"))
    assert files(media) == []


@pytest.mark.usefixtures("db")
def test_command_finds_pictures_in_another_folder(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cat.jpg").rename(tmp_path / "elsewhere" / "cat.jpg")
    run(dataset, "--images", tmp_path / "elsewhere", status=1)
    assert Item.objects.get(item_id="item1").image


def test_command_exits_with_2_where_the_source_cannot_be_used(tmp_path: Path) -> None:
    error = failure(tmp_path / "missing.csv")
    assert (error.returncode, str(error)) == (
        2,
        f"{tmp_path / 'missing.csv'} is neither a file nor a folder.",
    )
    (tmp_path / "rows.csv").write_text("caption\nx\n")
    error = failure(tmp_path / "rows.csv", "--errors", tmp_path / "no" / "where")
    assert error.returncode == 2
    assert str(error).startswith(f"--errors {tmp_path / 'no' / 'where'} cannot be written: ")


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5"])
def test_command_refuses_a_batch_size_that_is_none(size: str, tmp_path: Path) -> None:
    error = failure(tmp_path, f"--batch-size={size}")
    assert f"'{size}' is not a whole number above 0." in str(error)


def test_command_takes_pictures_by_their_content_and_says_so(
    space: EmbeddingSpace, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    (album / "cat.png").write_bytes(encoded(photo()))
    (album / "dog.heic").write_bytes(encoded(photo(), "HEIF"))
    assert "2 new" in run(album)
    shown = capsys.readouterr().err
    assert (
        "Noted, cat.png: 'cat.png' was taken as JPEG, which it holds; its name says PNG." in shown
    )
    assert "dog.heic" not in shown


@pytest.mark.usefixtures("db")
def test_command_prints_few_rejections_and_says_where_to_find_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,caption\n" + "".join(f"r{n},\n" for n in range(30)))
    run(path, status=1)
    err = capsys.readouterr().err
    assert err.count("Rejected, line") == ingestion.SHOWN
    assert err.count("More rows are rejected: --errors FILE lists them all.") == 1


@pytest.mark.usefixtures("db")
def test_command_stops_with_advice_where_the_source_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("caption\nx\n")

    def broken(*_: object) -> Iterator[ItemRecord]:
        yield ItemRecord(caption="x")
        raise OSError("the disk is gone")

    monkeypatch.setattr("catalog.ingest.tables.Table.read", broken)
    error = failure(path)
    assert error.returncode == 2
    assert str(error) == (
        "Stopped after 1 rows: the disk is gone. Run the same command again to go on where this"
        " stopped."
    )
    assert Item.objects.count() == 1


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("opened", [True, False])
def test_command_waits_and_embeds_itself_where_no_worker_lives(
    opened: bool, dataset: Path, request: pytest.FixtureRequest
) -> None:
    if opened:
        request.getfixturevalue("space")
    printed = run(dataset, "--wait", status=1)
    assert "3 items are indexed, 0 pending, 0 failed.\n" in printed
    assert states.counts() == states.StateCounts(items=3, indexed=3, pending=0, failed=0)
    assert EmbeddingSpace.objects.count() == 1
    assert "Nothing waits: 3 items are indexed.\n" in run(dataset, "--wait", status=1)


@pytest.mark.usefixtures("space")
def test_command_exits_with_1_where_items_fail_to_embed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embeddings.jobs.MAX_ATTEMPTS", 1)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": "a", "caption": POISON}))
    printed = run(path, "--wait", status=1)
    assert "0 items are indexed, 0 pending, 1 failed.\n" in printed


# ── progress ────────────────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    with Progress(stream, total=4, what="rows") as progress:
        for _ in range(6):  # the estimate was too low
            progress.advance()
        progress.note("a note")
    assert "6/6" in stream.getvalue().splitlines()[-1]
    assert "a note\n" in stream.getvalue()


def test_progress_is_plain_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 104.0, 106.0, 106.0, 106.0])
    monkeypatch.setattr("embeddings.management.progress.monotonic", lambda: next(clock))
    stream = io.StringIO()
    with Progress(stream, total=7500, what="rows") as progress:
        for _ in range(3):
            progress.advance(1000)
    assert stream.getvalue() == ("3,000 of about 7,500 rows, 500.0 a second, 9 s left\n")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min")]
)
def test_progress_says_how_long(seconds: float, words: str) -> None:
    assert progress_module.duration(seconds) == words


# ── real processes ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def rows(installation: Installation, count: int) -> Path:
    (installation.data / "cat.jpg").write_bytes(encoded(photo(900, 700)))
    return installation.write_csv(
        [
            {
                "id": f"row-{n}",
                "caption": f"row {n}",
                "tags": "a,b",
                "image_filename": "cat.jpg",
            }
            for n in range(count)
        ]
    )


@contextlib.contextmanager
def running(installation: Installation, source: Path) -> Iterator[subprocess.Popen[str]]:
    """The command at work, with its first rows stored."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "ingest_dataset", str(source), "--batch-size", "20"],
        cwd=ROOT,
        env=installation.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: installation.count("catalog_item") >= 20, "the first rows")
        yield process
    finally:
        kill_tree(process.pid)
        process.communicate(timeout=PATIENCE)


@pytest.mark.timeout(300)
def test_command_interrupted_stops_after_the_batch_and_goes_on_later(
    installation: Installation,
) -> None:
    source = rows(installation, 240)
    with running(installation, source) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Interrupted. Run the same command again to go on where this stopped." in err
    assert "Traceback" not in err
    stored = installation.count("catalog_item")
    assert 20 <= stored < 240
    assert f"{stored:,} new, 0 updated, 0 unchanged, 0 rejected." in out
    printed = installation.manage("ingest_dataset", str(source))
    assert summary(printed) == (f"{240 - stored} new, 0 updated, {stored:,} unchanged, 0 rejected.")


@pytest.mark.timeout(300)
def test_command_killed_and_run_again_has_every_row_once(installation: Installation) -> None:
    source = rows(installation, 240)
    with running(installation, source) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    stored = installation.count("catalog_item")
    assert 20 <= stored < 240
    assert installation.count("embeddings_embeddingjob") == stored
    printed = installation.manage("ingest_dataset", str(source), "--wait")
    assert summary(printed) == (f"{240 - stored} new, 0 updated, {stored:,} unchanged, 0 rejected.")
    assert "240 items are indexed, 0 pending, 0 failed." in printed
    ids = [row[0] for row in installation.rows("SELECT item_id FROM catalog_item ORDER BY id")]
    assert ids == [f"row-{n}" for n in range(240)]
    assert installation.count("catalog_item_tags") == 480
    named = {
        name
        for names in installation.rows("SELECT image, preview FROM catalog_item")
        for name in names
        if name
    }
    assert len(named) == 480
    assert named <= set(files(installation.data / "media"))
