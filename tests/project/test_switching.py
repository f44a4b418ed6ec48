"""The model is switched and rolled back under load, and while processes die."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from benchmarks.servers import Ours
from embeddings.encoders.base import Modality, Vectors
from tests import switching
from tests.encoders import ColourEncoder

ITEMS = 300
MODELS = ("colour", "colourful")
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.settings", "MMSEARCH_TESTS_PID": str(os.getpid())}


def _encode(encoder: ColourEncoder, text: str) -> Vectors:
    (vector,) = encoder.encode(Modality.TEXT, [text])
    row: Vectors = vector
    return row


@pytest.mark.timeout(600)
def test_i9_switches_and_rollbacks_show_no_error_no_empty_and_no_mixed_answer(
    tmp_path: Path,
) -> None:
    model, other = MODELS
    encode = {name: partial(_encode, ColourEncoder(name)) for name in MODELS}
    with Ours(tmp_path / "data", model=model, WEB_CONCURRENCY="2", **SETTINGS) as ours:
        report = switching.run(ours, items=ITEMS, model=model, other=other, encode=encode)

        assert (report.errors, report.empty, report.mixed) == ([], 0, [])
        assert report.answered_by == [model, *[other, model] * 3]
        assert report.searches > 100
        assert report.written > 10
        told = ours.manage("check_index")
        assert told.count("they agree.") == 4
        assert "Database and index agree." in told
