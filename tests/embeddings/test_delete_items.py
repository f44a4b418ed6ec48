from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from catalog import deletion
from catalog.models import Item
from catalog.signals import items_deleting
from embeddings import worker
from embeddings.management.progress import counted
from embeddings.models import EmbeddingSpace
from tests.encoders import POISON
from tests.signals import press_ctrl_c


def run(*arguments: str | Path) -> str:
    out = io.StringIO()
    call_command("delete_items", *map(str, arguments), stdout=out)
    return out.getvalue()


def left() -> set[str]:
    return set(Item.objects.values_list("item_id", flat=True))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["red", "blue"], {"green", "words"}),
        (["--category", "cold"], {"red", "words"}),
        (["--tag", "colour", "--tag", "sea"], {"red", "green", "words"}),
        (["--category", "cold", "--tag", "sea", "red", "blue"], {"red", "green", "words"}),
        (["--state", "indexed"], set()),
        (["--state", "failed"], {"red", "green", "blue", "words"}),
        (["--demo"], {"red", "green", "blue", "words"}),
        (["--all"], set()),
    ],
)
def test_options_say_which_items_go(
    indexed_items: dict[str, Item], arguments: list[str], expected: set[str]
) -> None:
    before = left()
    count = len(before - expected)
    said = f"{counted(count, 'item')} would be deleted. Nothing was deleted.\n"
    assert run(*arguments, "--dry-run") == said
    assert left() == before
    printed = run(*arguments, "--yes")
    assert left() == expected
    if count:
        assert printed == f"{counted(count, 'item')} deleted.\n"


def test_ids_come_from_a_file(indexed_items: dict[str, Item], tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes("\ufeffred\r\n\r\n nobody \ngreen\nred".encode())
    assert run("--ids-file", path, "blue", "--yes") == (
        "1 id without an item: nobody\n3 items deleted.\n"
    )
    assert left() == {"words"}
    path.write_bytes(b"\xff")
    with pytest.raises(CommandError, match=r"--ids-file .* cannot be read"):
        run("--ids-file", path, "--yes")


def test_ids_without_an_item_are_named(indexed_items: dict[str, Item]) -> None:
    unknown = [f"no-{number:02}" for number in range(12)]
    assert run(*unknown[:2], "--yes") == (
        "2 ids without an item: no-00, no-01\n0 items would be deleted. Nothing was deleted.\n"
    )
    assert run("red", *unknown, "--yes") == (
        f"12 ids without an item: {', '.join(unknown[:10])}, …\n1 item deleted.\n"
    )


def test_failed_items_are_found(space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embeddings.jobs.MAX_ATTEMPTS", 1)
    Item.objects.create(item_id="bad", caption=POISON)
    Item.objects.create(item_id="good", caption="fine")
    worker.drain()
    assert run("--state", "failed", "--yes") == "1 item deleted.\n"
    assert left() == {"good"}


@pytest.mark.parametrize("arguments", [[], ["--all", "red"], ["--all", "--category", "cold"]])
def test_no_choice_and_a_contradiction_are_refused(
    indexed_items: dict[str, Item], arguments: list[str]
) -> None:
    with pytest.raises(CommandError, match="Say which items"):
        run(*arguments, "--yes")
    assert len(left()) == 4


@pytest.mark.parametrize(("answer", "deleted"), [("y", 4), ("", 0), ("no", 0), (None, 0)])
def test_people_are_asked(
    indexed_items: dict[str, Item],
    monkeypatch: pytest.MonkeyPatch,
    answer: str | None,
    deleted: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("" if answer is None else f"{answer}\n"))
    with contextlib.nullcontext() if deleted else pytest.raises(CommandError, match="othing was"):
        run("--all")
    assert len(left()) == 4 - deleted


@pytest.mark.usefixtures("space")
def test_interrupted_it_stops_after_the_batch_and_says_how_many_went(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deletion, "BATCH", 4)
    Item.objects.bulk_create(Item(item_id=f"i{n}", caption="x") for n in range(10))

    def press(**_: object) -> None:
        press_ctrl_c()

    items_deleting.connect(press)
    out = io.StringIO()
    try:
        with pytest.raises(SystemExit) as stopped:
            call_command("delete_items", "--all", "--yes", stdout=out)
    finally:
        items_deleting.disconnect(press)
    assert (stopped.value.code, out.getvalue()) == (130, "4 items deleted.\n")
    assert "Interrupted. Run the same command again to go on." in capsys.readouterr().err
    assert Item.objects.count() == 6
