"""Starts beside other hosts of the same database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, settings_of

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture
def hosts(tmp_path: Path) -> list[dict[str, str]]:
    """The environments of two hosts on one database."""
    shared = {**os.environ, **settings_of(tmp_path), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    return [{**shared, "MMSEARCH_DATA_DIR": str(folder)} for folder in folders]


def begin(host: dict[str, str], **settings: str) -> subprocess.Popen[str]:
    """Begin to start a host."""
    return subprocess.Popen(
        [sys.executable, "-m", "mmsearch_project.preparation"],
        cwd=ROOT,
        env=host | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start(host: dict[str, str], **settings: str) -> tuple[int, str]:
    """Start a host; exit status and what it complained of."""
    process = begin(host, **settings)
    _, complaints = process.communicate()
    return process.returncode, complaints


def test_of_two_that_start_at_once_one_prepares_the_database(hosts: list[dict[str, str]]) -> None:
    starts = [begin(host, MMSEARCH_SECRET_KEY="shared") for host in hosts]
    said = [process.communicate()[0] for process in starts]

    assert [process.returncode for process in starts] == [0, 0]
    assert sum("Preparing the database" in each for each in said) == 1
    assert sum("Administration: /admin/" in each for each in said) == 1


def test_a_host_with_another_secret_key_is_refused_while_others_live(
    hosts: list[dict[str, str]],
) -> None:
    first, second = hosts
    assert start(first, MMSEARCH_SECRET_KEY="one")[0] == 0

    status, complaints = start(second, MMSEARCH_SECRET_KEY="other")

    assert status == 1
    assert complaints.splitlines()[-1].startswith(
        "mmsearch: Another host works on this database with another secret key"
    )
    assert start(second, MMSEARCH_SECRET_KEY="one")[0] == 0


def test_a_host_without_a_choice_has_the_model_of_the_others(hosts: list[dict[str, str]]) -> None:
    first, second = hosts
    assert start(first, MMSEARCH_SECRET_KEY="one", MMSEARCH_MODEL="other")[0] == 0
    assert start(second, MMSEARCH_SECRET_KEY="one")[0] == 0

    assert (Path(second["MMSEARCH_DATA_DIR"]) / "model").read_text() == "other\n"
