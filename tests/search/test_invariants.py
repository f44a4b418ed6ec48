"""The invariants that are about processes, proven with real processes and files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import picture
from tests.encoders import POISON
from tests.processes import Installation, kill_tree, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("installation"))


def mixed_rows(folder: Path, count: int) -> list[dict[str, str]]:
    """Captions, pictures, both, a picture that is none, and texts that no model takes."""
    (folder / "images").mkdir(exist_ok=True)
    for colour in ("red", "green", "blue"):
        (folder / "images" / f"{colour}.png").write_bytes(picture(colour))
    (folder / "images" / "broken.png").write_bytes(picture("red")[:50])
    rows = []
    for number in range(count):
        image = ("", "red.png", "green.png", "blue.png")[number % 4]
        if number % 100 == 7:
            image = "broken.png"
        caption = POISON if number % 100 == 50 else f"row {number}"
        rows.append({"id": f"row-{number}", "image_filename": image, "caption": caption})
    return rows


def test_i1_i2_kill_9_of_the_worker_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    rows = mixed_rows(tmp_path, 1200)
    source = installation.write_csv(rows)
    errors = tmp_path / "errors.jsonl"
    images = str(tmp_path / "images")
    with installation.worker(TESTS_DELAY="0.05") as worker:
        installation.manage(
            "ingest_dataset", str(source), "--images", images, "--errors", str(errors), status=1
        )
        wait_until(lambda: installation.count("embeddings_embedding") > 100, "first vectors")
        kill_tree(worker.pid)
        in_the_middle = installation.count("embeddings_embeddingjob")
        assert in_the_middle > 0
    with installation.worker(TESTS_DELAY="0.05") as worker:
        wait_until(
            lambda: installation.count("embeddings_embeddingjob") < in_the_middle, "more vectors"
        )
        kill_tree(worker.pid)
    with installation.worker():
        waiting = (
            "SELECT count(*) FROM embeddings_embeddingjob WHERE error NOT LIKE 'The model failed%'"
        )
        wait_until(lambda: installation.rows(waiting)[0][0] == 0, "an empty queue")

    rejected = sum(row["image_filename"] == "broken.png" for row in rows)
    poisoned = sum(
        row["caption"] == POISON and row["image_filename"] != "broken.png" for row in rows
    )
    assert len(errors.read_text().splitlines()) == rejected
    items = [item_id for (item_id,) in installation.rows("SELECT item_id FROM catalog_item")]
    assert Counter(items) == Counter(
        row["id"] for row in rows if row["image_filename"] != "broken.png"
    )
    unfinished = installation.rows(
        "SELECT i.caption, j.error FROM embeddings_embeddingjob j"
        " JOIN catalog_item i ON i.id = j.item_id"
    )
    assert len(unfinished) == poisoned
    assert set(unfinished) == {(POISON, "The model failed: This text is poison.")}
    vectors = installation.rows(
        "SELECT item_id, modality, count(*) FROM embeddings_embedding GROUP BY 1, 2"
    )
    assert {count for _, _, count in vectors} == {1}
    assert len({item for item, _, _ in vectors}) == len(items) - poisoned
    assert "Database and index agree." in installation.manage("check_index")


def test_i5_a_committed_vector_is_found_by_another_process(installation: Installation) -> None:
    with installation.searcher() as ask, installation.worker():
        assert "newcomer" not in [hit["item_id"] for hit in ask("red")]
        source = installation.write_csv([{"id": "newcomer", "caption": "red"}], "newcomer.csv")
        installation.manage("ingest_dataset", str(source))
        committed = (
            "SELECT count(*) FROM embeddings_embedding e"
            " JOIN catalog_item i ON i.id = e.item_id WHERE i.item_id = 'newcomer'"
        )
        wait_until(lambda: installation.rows(committed)[0][0] == 1, "the worker's commit")

        assert "newcomer" in [hit["item_id"] for hit in ask("red")]


def test_i3_an_item_deleted_in_the_admin_is_gone_from_every_process(
    installation: Installation,
) -> None:
    source = installation.write_csv([{"id": "goner", "caption": "blue"}], "goner.csv")
    installation.manage("ingest_dataset", str(source), "--wait")
    with installation.searcher() as ask, installation.searcher() as ask_too:
        for answer in (ask("blue"), ask_too("blue")):
            assert "goner" in [hit["item_id"] for hit in answer]
        deletion = (
            "from django.contrib.auth.models import User; from django.test import Client;"
            "from catalog.models import Item;"
            "user, _ = User.objects.get_or_create(username='a', is_staff=True, is_superuser=True);"
            "client = Client(); client.force_login(user);"
            "pk = Item.objects.get(item_id='goner').pk;"
            "answer = client.post(f'/admin/catalog/item/{pk}/delete/', {'post': 'yes'},"
            " headers={'host': 'localhost'});"
            "assert answer.status_code == 302, answer.content"
        )
        installation.manage("shell", "-v0", "-c", deletion)

        for answer in (ask("blue"), ask_too("blue")):
            assert "goner" not in [hit["item_id"] for hit in answer]
    assert "Database and index agree." in installation.manage("check_index")


def test_a_worker_that_starts_later_finds_what_waited(installation: Installation) -> None:
    source = installation.write_csv([{"id": "patient", "caption": "green"}], "patient.csv")
    installation.manage("ingest_dataset", str(source))
    installation.rows("SELECT 1")
    with installation.worker():
        wait_until(lambda: installation.count("embeddings_embeddingjob") == 0, "an empty queue")
    assert "patient" in installation.manage("search", "green", "--top", "50")
