"""The model is switched and rolled back while people search and write; or someone dies meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.servers import Ours
from embeddings.encoders.base import Modality
from tests import switching
from tests.encoders import ColourEncoder

ITEMS = 300
MODELS = ("colour", "colourful")
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.settings", "MMSEARCH_TESTS_PID": str(os.getpid())}


@pytest.mark.timeout(600)
def test_i9_switches_and_rollbacks_show_no_error_no_empty_and_no_mixed_answer(
    tmp_path: Path,
) -> None:
    encode = {
        name: lambda text, name=name: ColourEncoder(name).encode(Modality.TEXT, [text])[0]
        for name in MODELS
    }
    model, other = MODELS
    with Ours(tmp_path / "data", model=model, WEB_CONCURRENCY="2", **SETTINGS) as ours:
        report = switching.run(ours, items=ITEMS, model=model, other=other, encode=encode)

        assert (report.errors, report.empty, report.mixed) == ([], 0, [])
        assert report.answered_by == [model, *[other, model] * 3]
        assert report.searches > 100
        assert report.written > 10
        told = ours.manage("check_index")
        assert told.count("they agree.") == 4
        assert "Database and index agree." in told
