"""A real catalogue is moved by the command, to a real PostgreSQL."""

from __future__ import annotations

import contextlib
import copy
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.databases import database_of
from tests.encoders import COLOURS, POISON
from tests.processes import PATIENCE, ROOT, Installation, kill_tree, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

ITEMS = 300
LOCK = 7
"""The advisory lock on which the moved vectors can be made to wait."""
HOLD = f"""
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NEW; END $$;
CREATE TRIGGER wait BEFORE INSERT ON embeddings_embedding EXECUTE FUNCTION wait()
"""
FORGE = """
CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.caption := 'forged'; RETURN NEW; END $$;
CREATE TRIGGER forge BEFORE INSERT ON catalog_item FOR EACH ROW
WHEN (NEW.item_id = 'item-17') EXECUTE FUNCTION forge()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a SQLite catalogue with something in every part of it."""
    data = tmp_path_factory.mktemp("made")
    installation = Installation(
        data,
        made="anew",
        MMSEARCH_DATABASE_URL="",
        MMSEARCH_BROKER_URL="",
        DJANGO_SUPERUSER_PASSWORD="correct horse",
    )
    rows = [
        {
            "id": f"item-{n}",
            "caption": f"{list(COLOURS)[n % 7]} \u2014 ding {n}",
            "title": f"'Thing' \\ {n}",
            "tags": f"tag {n % 5}",
            "category": f"kind {n % 3}",
        }
        for n in range(ITEMS)
    ]
    rows += [{"id": "bad", "caption": POISON}, {"id": "last", "caption": "red"}]
    source = str(installation.write_csv(rows))
    installation.manage("ingest_dataset", source, "--wait", status=1)
    # The highest key is given up: it must not be given to another.
    installation.manage("delete_items", "last", "--yes")
    account = ("--username", "keeper", "--email", "keeper@example.org")
    installation.manage("createsuperuser", "--no-input", *account)
    installation.manage("drf_create_token", "keeper")
    installation.manage("open_space", "colourful")
    return data


@pytest.fixture
def catalogue(made: Path, tmp_path: Path) -> Installation:
    """A copy of it that may be moved."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Installation(tmp_path, made="before", MMSEARCH_DATABASE_URL="", MMSEARCH_BROKER_URL="")


@pytest.fixture
def target(tmp_path: Path) -> str:
    return database_of(tmp_path / "target")


@pytest.fixture
def server(target: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection to the database that is moved to."""
    with psycopg.connect(target, autocommit=True) as connection:
        yield connection


def move(installation: Installation, target: str) -> tuple[int, str]:
    """Exit status and everything that was said."""
    with moving(installation, target) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


@contextlib.contextmanager
def moving(installation: Installation, target: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "move_to", target],
        cwd=ROOT,
        env=installation.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            kill_tree(process.pid)


def moved(installation: Installation, target: str) -> Installation:
    """The same data folder, on the new database."""
    there = copy.copy(installation)
    there.database_url = target
    there.environment = installation.environment | {"MMSEARCH_DATABASE_URL": target}
    return there


def counts(installation: Installation) -> dict[str, int]:
    """Rows of every table that both databases have; not of migrations, which have times."""
    with contextlib.closing(sqlite3.connect(installation.data / "mmsearch.sqlite3")) as source:
        names = source.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            " AND name NOT LIKE 'catalog_words%' AND name <> 'django_migrations'"
        )
        return {name: installation.count(name) for (name,) in names}


def test_a_catalogue_is_whole_on_postgresql_and_answers_as_before(
    catalogue: Installation, target: str
) -> None:
    with catalogue.searcher() as ask:
        before = {words: ask(words) for words in ("red", "ding 12", "kind")}
    assert len(before["red"]) == ITEMS

    status, said = move(catalogue, target)

    assert status == 0, said
    rows = sum(counts(catalogue).values())
    lines = said.splitlines()
    assert re.fullmatch(rf"Copying {rows:,} rows of \d+ tables …", lines[0])
    assert re.fullmatch(r"Moved in [\d.]+ s: both databases hold the same.", lines[2])
    assert "start with MMSEARCH_DATABASE_URL set to this address" in lines[3]
    there = moved(catalogue, target)
    assert counts(there) == counts(catalogue)
    for query in (
        "SELECT id, username, password FROM auth_user",
        "SELECT key, user_id FROM authtoken_token",
        "SELECT id, space_id, item_id, modality, vector FROM embeddings_embedding ORDER BY id",
        "SELECT space_id, item_id, error FROM embeddings_embeddingjob ORDER BY id",
        "SELECT id, item_id, title, caption FROM catalog_item ORDER BY id",
        "SELECT item_id, title, caption, tags, name FROM catalog_itemwords ORDER BY item_id",
        "SELECT app_label, model, id FROM django_content_type ORDER BY id",
    ):
        found = there.rows(query)
        assert found
        assert found == catalogue.rows(query)

    with there.searcher() as ask:
        assert {words: ask(words) for words in before} == before
    assert "Database and index agree." in there.manage("check_index")
    last = catalogue.rows("SELECT seq FROM sqlite_sequence WHERE name = 'catalog_item'")[0][0]
    assert last > catalogue.rows("SELECT max(id) FROM catalog_item")[0][0]
    new = there.write_csv([{"id": "new", "caption": "red"}], "new.csv")
    there.manage("ingest_dataset", str(new))
    assert there.rows("SELECT id FROM catalog_item WHERE item_id = 'new'") == [(last + 1,)]
    with there.worker(), there.searcher() as ask:
        wait_until(lambda: "new" in [hit["item_id"] for hit in ask("red")], "the new item")


def test_a_move_goes_on_after_ctrl_c_and_kill_9(
    catalogue: Installation, target: str, server: psycopg.Connection[tuple[object, ...]]
) -> None:
    mark = "SELECT to_regclass('mmsearch_move') IS NOT NULL"
    with moving(catalogue, target) as process:
        wait_until(lambda: server.execute(mark).fetchone() == (True,), "the begin of the move")
        kill_tree(process.pid)
    there = moved(catalogue, target)
    there.manage("migrate", "-v0")
    started = [sys.executable, "-m", "mmsearch_project.preparation"]
    refused = subprocess.run(
        started, cwd=ROOT, env=there.environment, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert refused.stderr == (
        "mmsearch: A catalogue is being moved into this database. Complete that, with"
        " `manage.py move_to` and the settings of the old one; then start.\n"
    )

    server.execute(HOLD)
    server.execute(f"SELECT pg_advisory_lock({LOCK})")
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with moving(catalogue, target) as process:
        wait_until(lambda: server.execute(waiting).fetchone() == (1,), "the vectors to be copied")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert said.splitlines()[-1] == (
        "CommandError: Stopped. The same command goes on from here; the catalogue itself is as it"
        " was."
    )
    wait_until(lambda: server.execute(waiting).fetchone() == (0,), "the server to notice")
    with moving(catalogue, target) as process:
        wait_until(lambda: server.execute(waiting).fetchone() == (1,), "the vectors to be copied")
        kill_tree(process.pid)
    assert counts(there)["catalog_item"] == ITEMS + 1
    server.execute("DROP FUNCTION wait CASCADE")
    server.execute(f"SELECT pg_advisory_unlock({LOCK})")

    status, said = move(catalogue, target)
    assert status == 0, said
    kept = re.search(r"([\d,]+) rows were there from before", said)
    assert kept is not None
    assert int(kept[1].replace(",", "")) > ITEMS
    assert counts(there) == counts(catalogue)
    vectors = "SELECT id, item_id, vector FROM embeddings_embedding ORDER BY id"
    assert there.rows(vectors) == catalogue.rows(vectors)
    status, said = move(catalogue, target)
    assert status == 1
    assert said.splitlines()[-1] == (
        f"CommandError: The database holds {len(counts(catalogue)) + 1} tables already. A catalogue"
        " moves into an empty one: CREATE DATABASE, and name that."
    )


def test_what_differs_is_found_and_what_changed_is_copied_anew(
    catalogue: Installation, target: str, server: psycopg.Connection[tuple[object, ...]]
) -> None:
    mark = "SELECT to_regclass('mmsearch_move') IS NOT NULL"
    with moving(catalogue, target) as process:
        wait_until(lambda: server.execute(mark).fetchone() == (True,), "the begin of the move")
        kill_tree(process.pid)
    there = moved(catalogue, target)
    there.manage("migrate", "-v0")
    server.execute(FORGE)

    status, said = move(catalogue, target)
    assert status == 1
    assert said.splitlines()[-1] == (
        f"CommandError: catalog_item differs: {ITEMS + 1} rows were copied, {ITEMS + 1} are there."
        " Nothing uses the new database yet: run this again."
    )
    server.execute("DROP FUNCTION forge CASCADE")
    status, said = move(catalogue, target)
    assert status == 0, said
    assert "The catalogue had changed since the move began: all was copied anew." in said
    items = "SELECT id, item_id, caption FROM catalog_item ORDER BY id"
    assert there.rows(items) == catalogue.rows(items)


def test_a_move_under_a_running_worker_or_to_nowhere_is_refused(
    catalogue: Installation, target: str
) -> None:
    with catalogue.worker():
        wait_until(
            lambda: move(catalogue, target)[1].endswith(
                "CommandError: A server runs on this catalogue: stop it, then move.\n"
            ),
            "the running worker to be noticed",
        )
    status, said = move(catalogue, "mysql://me:secret@host/name")
    assert (status, said) == (
        1,
        "CommandError: Name the database as postgresql://user:password@host/name.\n",
    )
    status, said = move(catalogue, "postgresql://me:secret@127.0.0.1:1/name")
    assert status == 1
    assert said.startswith("CommandError: PostgreSQL cannot be reached: ")
    assert "secret" not in said
    there = moved(catalogue, target)
    there.manage("migrate", "-v0")
    status, said = move(there, target)
    assert status == 1
    assert said == (
        "CommandError: This catalogue is on PostgreSQL: pg_dump and pg_restore move it to another"
        " server.\n"
    )
