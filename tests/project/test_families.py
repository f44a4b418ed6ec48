"""A model of each family from a hub, through the processes of `make run`, to a search."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from benchmarks.load import picture_form
from tests.databases import servers_of
from tests.embeddings.encoders.fake_hub import NAME, fake_hub
from tests.embeddings.encoders.tiny_families import BUILDERS, clip, sentences
from tests.project.test_supervisor import ROOT, free_port, wait_for

PATIENCE = 900.0
"""Seconds for preparing a model, and for what follows: ten on an idle machine."""
pytestmark = pytest.mark.timeout(2 * PATIENCE)

ITEMS = {"fox": "the red fox", "boat": "a blue boat at sea", "night": "snow in the night"}


class Server:
    """A running installation of its own."""

    def __init__(self, port: int, process: psutil.Popen, log: Path) -> None:
        self.port = port
        self.process = process
        self.log = log

    def ask(self, path: str, body: bytes | None = None, kind: str = "") -> dict[str, Any]:
        """The answer to a body of that type, or to none."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=body, headers={"Content-Type": kind}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def all_indexed(self) -> bool:
        stats = self.ask("/stats/")
        return bool(stats["items"] == len(ITEMS) and not stats["pending"] and not stats["failed"])


@contextlib.contextmanager
def served(model: str, data: Path, endpoint: str) -> Iterator[Server]:
    """`python -m mmsearch_project`, as `make run` starts it, ready to be asked."""
    foreign = ("MMSEARCH_", "HF_", "DJANGO_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    port = free_port()
    data.mkdir()
    environ |= {
        "MMSEARCH_MODEL": model,
        "MMSEARCH_DATA_DIR": str(data),
        **servers_of(data),
        "MMSEARCH_DEMO": "0",
        "PORT": str(port),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(data / "hub"),
    }
    with (data / "log").open("wb") as log:
        process = psutil.Popen(
            [sys.executable, "-m", "mmsearch_project"],
            cwd=ROOT,
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Server(port, process, data / "log")
    try:
        wait_for(
            lambda: "Ready: " in server.log.read_text() or process.poll() is not None,
            "Ready",
            PATIENCE,
        )
        assert "Ready: " in server.log.read_text(), server.log.read_text()
        yield server
    finally:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            process.send_signal(signal.SIGINT)
            process.wait(60)
        for left in [*process.children(recursive=True), process] if process.is_running() else []:
            left.kill()


def picture(item: str) -> bytes:
    """A PNG of smooth noise, of an odd shape."""
    random = np.random.default_rng([*item.encode()])
    coarse = Image.fromarray(random.integers(0, 256, (3, 4, 3)).astype(np.uint8))
    written = io.BytesIO()
    coarse.resize((90, 57), Image.Resampling.BICUBIC).save(written, "PNG")
    return written.getvalue()


def prove(model: str, data: Path, endpoint: str) -> None:
    """Items come in; an item's own caption, and its own picture, find it first."""
    with served(model, data, endpoint) as server:
        for item, caption in ITEMS.items():
            form = picture_form(item, picture(item), item_id=item, text_caption=caption)
            server.ask("/ingest_stream/", *form)
        wait_for(server.all_indexed, "vectors", PATIENCE)
        for item, caption in ITEMS.items():
            words = json.dumps({"query_text": caption}).encode()
            for answer in (
                server.ask("/search_text/", words, "application/json"),
                server.ask("/search_image/", *picture_form(item, picture(item))),
            ):
                assert answer["results"][0]["item_id"] == item


@pytest.mark.parametrize("family", BUILDERS)
def test_a_model_of_each_family_goes_from_the_hub_to_a_search(family: str, tmp_path: Path) -> None:
    with fake_hub(BUILDERS[family](tmp_path / "hub")) as (endpoint, _asked):
        prove(NAME, tmp_path / "data", endpoint)


def test_a_text_model_from_the_hub_is_searched_beside_a_directorys_pictures(
    tmp_path: Path,
) -> None:
    pictures = clip(tmp_path / "clip")
    with fake_hub(sentences(tmp_path / "hub")) as (endpoint, _asked):
        prove(f"{NAME}+{pictures}", tmp_path / "data", endpoint)
