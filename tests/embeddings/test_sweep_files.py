from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils.module_loading import import_string
from django_q.models import Schedule
from pytest_django.fixtures import Settings

from catalog.models import Item
from embeddings import tasks
from tests.catalog.pictures import files


def test_files_are_swept_once_a_day(
    tmp_path: Path, settings: Settings, make_item: Callable[..., Item]
) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    item = make_item(colour="red")
    orphan = tmp_path / "media/previews/ab/cat_0123456789ab.jpg"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")
    schedule = Schedule.objects.get(name="sweep files")
    assert (schedule.schedule_type, schedule.repeats) == (Schedule.DAILY, -1)
    sweep = import_string(schedule.func)
    assert sweep() == 0
    assert sweep(0) == 1
    assert files(tmp_path / "media") == [item.image.name]


@pytest.mark.django_db
def test_every_host_sweeps_what_it_prepared(tmp_path: Path, settings: Settings) -> None:
    settings.MMSEARCH_MODEL_DIR = tmp_path / "models"
    (tmp_path / "models" / ".preparing-xyz").mkdir(parents=True)
    assert tasks.sweep_models() == 0
    assert tasks.sweep_models(0) == 1
