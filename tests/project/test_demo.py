from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from catalog.models import Item
from mmsearch_project import demo
from mmsearch_project.demo import DemoState


@pytest.fixture
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.MMSEARCH_DATA_DIR = tmp_path
    settings.MMSEARCH_DEMO = True
    return tmp_path


@pytest.mark.django_db
def test_plan_wants_the_demo_in_an_empty_database(data_dir: Path) -> None:
    assert demo.state(data_dir) is None
    demo.plan()
    assert demo.state(data_dir) is DemoState.LOADING


@pytest.mark.django_db
def test_plan_leaves_a_database_with_items_alone(data_dir: Path) -> None:
    item = Item.objects.create(item_id="own", caption="mine")
    demo.plan()
    item.delete()
    demo.plan()
    assert demo.state(data_dir) is DemoState.SETTLED


@pytest.mark.django_db
def test_plan_goes_on_with_an_interrupted_load_and_never_repeats_a_finished_one(
    data_dir: Path,
) -> None:
    demo.plan()
    Item.objects.create(item_id="first", caption="one of the demo")
    demo.plan()
    assert demo.state(data_dir) is DemoState.LOADING
    demo.settle(data_dir)
    Item.objects.all().delete()
    demo.plan()
    assert demo.state(data_dir) is DemoState.SETTLED


@pytest.mark.django_db
def test_plan_does_nothing_where_the_demo_is_switched_off(
    settings: Settings, data_dir: Path
) -> None:
    settings.MMSEARCH_DEMO = False
    demo.plan()
    assert demo.state(data_dir) is None
