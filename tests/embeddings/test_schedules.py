"""The schedules exist wherever a worker may look for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django_q.models import Schedule

from embeddings import schedules
from tests.processes import settings_of

EXPECTED = {
    "sweep": "embeddings.tasks.sweep",
    "sweep files": "embeddings.tasks.sweep_files",
    "answer shadow queries": "search.tasks.answer_shadow_queries",
}


def rows() -> dict[str, str]:
    return dict(Schedule.objects.values_list("name", "func"))


@pytest.mark.django_db
def test_migrate_restores_the_schedules_of_an_existing_database() -> None:
    Schedule.objects.all().delete()
    call_command("migrate", verbosity=0)
    assert rows() == EXPECTED
    call_command("migrate", verbosity=0)
    assert Schedule.objects.count() == len(EXPECTED)


@pytest.mark.django_db
def test_what_every_host_does_itself_has_no_row() -> None:
    Schedule.objects.create(name="maintain index", func="search.tasks.maintain_index")
    schedules.ensure()
    assert rows() == EXPECTED
    assert sorted(schedules.on_each_host()) == [
        "embeddings.tasks.sweep_models",
        "search.tasks.maintain_index",
    ]


@pytest.mark.django_db
def test_the_start_of_the_worker_restores_them() -> None:
    from mmsearch_project import cluster

    Schedule.objects.filter(name="sweep").delete()
    from unittest.mock import patch

    with patch("django.db.connections.close_all"):  # the test's transaction lives on it
        cluster._ensure_schedules()
    assert rows() == EXPECTED


def test_migrate_of_an_empty_database_creates_them(tmp_path: Path) -> None:
    env = os.environ | settings_of(tmp_path)
    show = (
        "from django_q.models import Schedule as S;"
        "print(sorted(S.objects.values_list('name', flat=True)))"
    )
    for command in (["migrate", "-v0"], ["shell", "-v0", "-c", show]):
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            env=env, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert done.stdout.strip() == str(sorted(EXPECTED))
