"""A model of each family through the processes of `make run` to a search.

One installation serves them all. Its first start downloads a text model and prepares it with the
pictures of a directory. The models of each family, from the hub and from a directory, are prepared
by `manage.py prepare_model` and then opened, one after another.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image

from benchmarks.load import picture_form
from benchmarks.material import ROOT
from benchmarks.servers import Ours
from tests.databases import servers_of
from tests.embeddings.encoders.fake_hub import NAME, hub_of
from tests.embeddings.encoders.tiny_families import BUILDERS, sentences
from tests.switching import ASKED, answers

pytestmark = [pytest.mark.timeout(900), pytest.mark.servers]  # it takes minutes

ITEMS: Final = {"fox": "the red fox", "boat": "a blue boat at sea", "night": "snow in the night"}
HUB: Final = {family: f"team/{family.replace(' ', '-')}" for family in BUILDERS}
"""What the model of each family is called on the hub."""
PREPARE: Final = """
import sys
import django
from django.core.management import call_command

django.setup()
for model, *options in map(str.split, sys.argv[1:]):
    call_command("prepare_model", model, *options)
"""
"""`prepare_model` again and again in one process, since importing torch takes seconds."""


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each family."""
    folder = tmp_path_factory.mktemp("models")
    return {family: build(folder / Path(HUB[family]).name) for family, build in BUILDERS.items()}


@pytest.fixture(scope="module")
def pair(directories: dict[str, Path]) -> str:
    """A text model of the hub, and the pictures of a directory."""
    return f"{NAME}+{directories['clip']}"


@pytest.fixture(scope="module")
def ours(
    tmp_path_factory: pytest.TempPathFactory, directories: dict[str, Path], pair: str
) -> Iterator[Ours]:
    """Started with the pair, filled; all other models are prepared."""
    folder = tmp_path_factory.mktemp("families")
    models = {HUB[family]: directory for family, directory in directories.items()}
    models[NAME] = sentences(folder / "sentences")
    with hub_of(models) as (endpoint, _asked):
        data = folder / "data"
        hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "0"}
        with Ours(data, model=pair, **hub, **servers_of(data)) as running:
            running.start()
            fill(running)
            prepare(
                running, [*HUB.values(), *(f"{d} --precision fp32" for d in directories.values())]
            )
            yield running


def fill(ours: Ours) -> None:
    """Items come in and are embedded."""
    for item, caption in ITEMS.items():
        form = picture_form(item, picture(item), item_id=item, text_caption=caption)
        assert ours.ask("POST", "/ingest_stream/", *form)[0] in {200, 201}
    ours.wait(lambda: ours.get("/stats/")["indexed"] == len(ITEMS), "all vectors", poll=0.2)


def prepare(ours: Ours, commands: list[str]) -> None:
    """Run `prepare_model` with each: by default in all precisions, of which the fastest is kept."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, *commands],
        cwd=ROOT,
        env=ours.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def prove(ours: Ours, model: str) -> None:
    """Once the model answers, an item's own caption and its own picture find it first."""
    ours.manage("open_space", model, "--wait")
    assert answers(ours) == model
    for item, caption in ITEMS.items():
        assert ours.found(caption)[0] == item
        status, found = ours.ask("POST", "/search_image/", *picture_form(item, picture(item)))
        assert (status, json.loads(found)["results"][0]["item_id"]) == (200, item)


def prove_by_meaning(ours: Ours) -> None:
    """The words play no part: where texts and queries have one prompt, equal ones are nearest."""
    for item, caption in ITEMS.items():
        answer = ours.post("/api/v1/search/", {"q": caption, **ASKED})
        assert answer["results"][0]["item_id"] == item


def picture(item: str) -> bytes:
    """A PNG of smooth noise, of an odd shape."""
    random = np.random.default_rng([*item.encode()])
    coarse = Image.fromarray(random.integers(0, 256, (3, 4, 3)).astype(np.uint8))
    written = io.BytesIO()
    coarse.resize((90, 57), Image.Resampling.BICUBIC).save(written, "PNG")
    return written.getvalue()


def test_a_text_model_from_the_hub_is_searched_beside_a_directorys_pictures(
    ours: Ours, pair: str
) -> None:
    prove(ours, pair)


@pytest.mark.parametrize("family", BUILDERS)
def test_a_model_of_each_family_goes_from_the_hub_to_a_search(ours: Ours, family: str) -> None:
    prove(ours, HUB[family])
    prove_by_meaning(ours)


@pytest.mark.parametrize("family", BUILDERS)
def test_a_directory_of_each_family_goes_to_a_search(
    ours: Ours, directories: dict[str, Path], family: str
) -> None:
    prove(ours, str(directories[family]))
    prove_by_meaning(ours)
