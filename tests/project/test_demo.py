from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from catalog.models import Item
from mmsearch_project import demo


@pytest.fixture
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.MMSEARCH_DATA_DIR = tmp_path
    settings.MMSEARCH_DEMO = True
    return tmp_path


@pytest.mark.django_db
def test_plan_wants_the_demo_in_an_empty_database(data_dir: Path) -> None:
    assert not demo.is_wanted(data_dir)
    demo.plan()
    assert demo.is_wanted(data_dir)


@pytest.mark.django_db
def test_plan_leaves_a_database_with_items_alone(data_dir: Path) -> None:
    item = Item.objects.create(item_id="own", caption="mine")
    demo.plan()
    item.delete()
    demo.plan()
    assert not demo.is_wanted(data_dir)


@pytest.mark.django_db
def test_plan_goes_on_with_an_interrupted_load_and_never_repeats_a_finished_one(
    data_dir: Path,
) -> None:
    demo.plan()
    Item.objects.create(item_id="first", caption="one of the demo")
    demo.plan()
    assert demo.is_wanted(data_dir)
    demo.settle()
    Item.objects.all().delete()
    demo.plan()
    assert not demo.is_wanted(data_dir)


@pytest.mark.django_db
def test_plan_does_nothing_where_the_demo_is_switched_off(
    settings: Settings, data_dir: Path
) -> None:
    settings.MMSEARCH_DEMO = False
    demo.plan()
    assert not demo.is_wanted(data_dir)


@pytest.mark.django_db
def test_of_one_database_another_host_does_not_repeat_it(
    settings: Settings, data_dir: Path, tmp_path: Path
) -> None:
    demo.plan()
    demo.settle()
    Item.objects.all().delete()
    settings.MMSEARCH_DATA_DIR = tmp_path / "another"
    settings.MMSEARCH_DATA_DIR.mkdir()
    demo.plan()
    assert not demo.is_wanted(settings.MMSEARCH_DATA_DIR)


@pytest.mark.django_db
@pytest.mark.parametrize(("before", "wanted"), [("loading", True), ("settled", False)])
def test_what_an_earlier_version_kept_in_a_file_holds(
    data_dir: Path, before: str, wanted: bool
) -> None:
    (data_dir / "demo_catalogue").write_text(before)
    demo.plan()
    assert demo.is_wanted(data_dir) is wanted
