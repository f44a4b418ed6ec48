"""`ingest_dataset --prune` and `--watch`."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from catalog.ingest import pruning
from catalog.models import Dataset, Item
from tests.catalog.pictures import encoded, photo
from tests.processes import PATIENCE, ROOT, Installation, kill_tree, wait_until


def run(*arguments: str | Path, status: int = 0) -> str:
    out = io.StringIO()
    code = 0
    try:
        call_command("ingest_dataset", *map(str, arguments), stdout=out)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == status
    return out.getvalue()


def refusal(*arguments: str | Path) -> str:
    with pytest.raises(CommandError) as error:
        call_command("ingest_dataset", *map(str, arguments), stdout=io.StringIO())
    assert error.value.returncode == 2
    return str(error.value)


def rows(path: Path, *ids: str) -> Path:
    path.write_text("".join(json.dumps({"id": i, "caption": f"words of {i}"}) + "\n" for i in ids))
    return path


def left() -> str:
    return "".join(Item.objects.order_by("item_id").values_list("item_id", flat=True))


@pytest.mark.usefixtures("space")
def test_prune_deletes_what_vanished_from_this_source_alone(tmp_path: Path) -> None:
    source, other = tmp_path / "rows.jsonl", tmp_path / "other.jsonl"
    Item.objects.create(item_id="z", caption="by hand")
    run(rows(source, *"abcdef"))
    run(rows(other, *"fg"))
    rows(source, *"abch")
    assert "2 items have vanished and would be deleted.\n" in run(source, "--prune", "--dry-run")
    assert left() == "abcdefgz"
    printed = run(source, "--prune")
    assert printed.endswith("Vanished: d\nVanished: e\n2 items that have vanished were deleted.\n")
    assert left() == "abcfghz"  # f is the other's now
    assert run(source, "--prune").endswith("0 items that have vanished were deleted.\n")
    assert set(Dataset.objects.values_list("path", flat=True)) == {str(source), str(other)}


@pytest.mark.usefixtures("db")
def test_naming_an_item_again_makes_it_the_sources_own_and_changes_nothing_else(
    tmp_path: Path,
) -> None:
    for item_id in "abc":
        Item.objects.create(item_id=item_id, caption=f"words of {item_id}")
    before = list(Item.objects.values("pk", "updated_at", "caption_hash").order_by("pk"))
    printed = run(rows(tmp_path / "rows.jsonl", *"abc"))
    assert "0 new, 0 updated, 3 unchanged, 0 rejected. Nothing has changed." in printed
    assert list(Item.objects.values("pk", "updated_at", "caption_hash").order_by("pk")) == before
    run(rows(tmp_path / "rows.jsonl", *"ab"), "--prune")
    assert left() == "ab"


@pytest.mark.usefixtures("db")
def test_prune_waits_for_rows_that_were_rejected(tmp_path: Path) -> None:
    source = rows(tmp_path / "rows.jsonl", *"abcd")
    run(source)
    source.write_text(rows(source, *"ab").read_text() + '{"id": "c", "caption": 5}\n')
    assert refusal(source, "--prune").startswith("1 rows were rejected")
    assert left() == "abcd"
    run(source, "--prune", "--force", status=1)
    assert left() == "abc"  # the rejected row has named it


@pytest.mark.usefixtures("db")
def test_prune_asks_whether_a_source_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "FEW", 2)
    source = rows(tmp_path / "rows.jsonl", *"abcdef")
    run(source)
    said = refusal(rows(source, *"ab"), "--prune")
    assert said == (
        f"4 of the 6 items of {source} have vanished from it. Is it whole, and mounted? Nothing was"
        " pruned; with --force they go."
    )
    source.write_text("\n")
    (tmp_path / "rows.csv").write_text("caption\n")
    assert "6 of the 6 items" in refusal(source, "--prune")
    assert left() == "abcdef"
    run(rows(source, *"a"), "--prune", "--force")
    assert left() == "a"


@pytest.mark.usefixtures("db")
def test_prune_spares_a_folder_that_is_empty_or_cannot_be_read(
    tmp_path: Path, settings: Settings
) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    album = tmp_path / "album"
    album.mkdir()
    (album / "a.jpg").write_bytes(encoded(photo()))
    run(album)
    (album / "a.jpg").unlink()
    assert refusal(album, "--prune", "--force") == f"{album} holds no pictures."
    assert left() == "a.jpg"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--force"], "--force is about --prune"),
        (["--watch", "--wait"], "leave out --wait"),
        (["--watch", "--dry-run"], "leave out --dry-run"),
        (["--watch", "--images", "x"], "leave out --images"),
        (["--watch"], "only a folder of pictures can be watched"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, arguments: list[str], reason: str
) -> None:
    assert reason in refusal(rows(tmp_path / "rows.jsonl", "a"), *arguments)


@pytest.mark.timeout(300)
def test_watch_follows_a_folder_until_it_is_interrupted(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    album = tmp_path / "album"
    (album / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/b.jpg", "c.jpg"):
        (album / name).write_bytes(encoded(photo()))

    def ids() -> set[str]:
        return {str(row[0]) for row in installation.rows("SELECT item_id FROM catalog_item")}

    process = subprocess.Popen(
        [sys.executable, "manage.py", "ingest_dataset", str(album), "--watch", "--prune"],
        cwd=ROOT,
        env=installation.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: ids() == {"a.jpg", "sub:b.jpg", "c.jpg"}, "what was there")
        (album / "d.jpg").write_bytes(encoded(photo(100, 50)))
        (album / "c.jpg").unlink()
        (album / "a.txt").write_text("A cat")
        wait_until(lambda: ids() == {"a.jpg", "sub:b.jpg", "d.jpg"}, "the changes")
        query = "SELECT caption FROM catalog_item WHERE item_id = 'a.jpg'"
        wait_until(lambda: installation.rows(query) == [("A cat",)], "the caption")
        album.rename(tmp_path / "away")
        album.mkdir()
        wait_until(lambda: "3 of the 3 items" in said(process), "the refusal")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        kill_tree(process.pid)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("Stopped watching.\n")
    assert len(ids()) == 3


def said(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints."""
    assert process.stdout is not None
    return process.stdout.readline()
