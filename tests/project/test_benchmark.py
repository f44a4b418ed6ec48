from __future__ import annotations

import io
import itertools
import json
import os
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import material, plots, report
from benchmarks.figures import describe, percentile
from benchmarks.load import run_load
from benchmarks.processes import apart
from benchmarks.soak_report import Limit, trend
from benchmarks.targets import targets


def test_percentile_is_the_nearest_rank() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    shares = (0, 0.05, 0.3, 0.4, 0.5, 1)
    assert [percentile(values, share) for share in shares] == [15, 15, 20, 20, 35, 50]
    with pytest.raises(ValueError, match="No values"):
        percentile([], 0.5)


class Echo(BaseHTTPRequestHandler):
    """Answers in two writes; 400 where the query is `bad`."""

    protocol_version = "HTTP/1.1"
    bodies: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(body)
        self.send_response(400 if b'"bad"' in body else 200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"do")
        self.wfile.flush()
        self.wfile.write(b"ne")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[ThreadingHTTPServer]:
    Echo.bodies = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_run_load_sends_every_request_once_and_counts_errors(echo: ThreadingHTTPServer) -> None:
    texts = [*(f"query {number}" for number in range(20)), "bad"]
    result = run_load(echo.server_port, "/search_text/", texts, clients=4, beside={"top_n": 3})
    assert (len(result.durations), result.errors) == (20, 1)
    asked = sorted((json.loads(body) for body in Echo.bodies), key=lambda body: body["query_text"])
    assert asked == [{"query_text": text, "top_n": 3} for text in sorted(texts)]


def test_run_load_stops_when_its_time_is_over(echo: ThreadingHTTPServer) -> None:
    texts = [f"{number}" for number in range(100_000)]
    result = run_load(echo.server_port, "/", texts, clients=2, seconds=0.2)
    assert len(texts) > len(Echo.bodies) == len(result.durations) > 0


def test_work_apart_is_done_in_another_process_and_raises_here() -> None:
    assert apart(os.getppid) == os.getpid()
    with pytest.raises(ValueError, match="No values"):
        apart(percentile, [], 0.5)


def test_run_load_sends_large_forms_whole(echo: ThreadingHTTPServer, tmp_path: Path) -> None:
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(bytes(range(256)) * 40_000)
    result = run_load(echo.server_port, "/", [picture], clients=3)
    assert len(result.durations) == 1
    (body,) = Echo.bodies
    assert picture.read_bytes() in body
    assert b'name="item_id"\r\n\r\nphoto\r\n' in body


def test_captions_never_repeat_and_are_the_same_for_a_seed() -> None:
    first = list(itertools.islice(material.captions(1), 3000))
    assert len(set(first)) == 3000
    assert first == list(itertools.islice(material.captions(1), 3000))
    assert first != list(itertools.islice(material.captions(2), 3000))


def test_comment_makes_another_file_of_the_same_picture() -> None:
    pixels = material.photographic_noise((96, 72), seed=1)
    assert pixels.shape == (72, 96, 3)
    assert pixels.dtype == np.uint8
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    commented = material.with_comment(buffer.getvalue(), "one")
    assert commented != material.with_comment(buffer.getvalue(), "two")
    with Image.open(io.BytesIO(commented)) as image, Image.open(buffer) as plain:
        assert image.info["comment"] == b"one"
        assert np.array_equal(np.asarray(image), np.asarray(plain))


def test_charts_are_valid_svg_and_always_the_same() -> None:
    groups = [("1 <client>", (5.0, 10.0)), ("8 clients", (2.5,))]
    chart = plots.bars("Latency & more", "ms", ("ours", "baseline"), groups)
    assert chart == plots.bars("Latency & more", "ms", ("ours", "baseline"), groups)
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(r.attrib["width"]) for r in ET.fromstring(chart).iter(f"{space}rect")][2:]
    assert [width / widths[1] for width in widths] == [0.5, 1, 0.25]
    series = {"web & worker": [(0.0, 100.0), (2.0, 50.0)]}
    root = ET.fromstring(plots.lines("Memory", "MB", series, marks=[1.0]))
    marked, drawn, _ = (path.attrib["d"] for path in root.iter(f"{space}path"))
    assert drawn == "M24.0 64.0L696.0 150.0"
    assert marked == "M360.0 64V236"


def test_trend_is_the_growth_of_the_last_two_thirds() -> None:
    points = [(minute, 100.0 + 2 * max(minute - 10, 0), 0) for minute in map(float, range(31))]
    found = trend(points, Limit(0.1, 30))
    assert (found.middle, found.growth, found.allowed) == (120, 40, 30)
    assert found.grows


def test_trend_forgives_outliers_and_what_a_new_process_does() -> None:
    steady = [(minute, 100.0 + 500 * (minute == 20), 0) for minute in map(float, range(31))]
    assert not trend(steady, Limit(0, 1)).grows
    restarted = [
        (minute, 100.0 if minute < 20 else 300.0, int(minute >= 20))
        for minute in map(float, range(31))
    ]
    assert trend(restarted, Limit(0, 1)).growth == 0


def load_row(p50: float, rate: float) -> dict[str, float]:
    return {"p50": p50, "p99": p50 * 2, "rate": rate, "cpu": 100.0, "memory_mb": 500.0}


@pytest.fixture
def results() -> dict[str, Any]:
    encoders = [
        {"modality": modality, "batch": batch, "ms": batch * cost}
        for batch in (1, 8)
        for modality, cost in (("text", 4.0), ("image", 20.0))
    ]
    index = {"vectors": 1000, "build_s": 1.0, "bytes": 792.0, "recall": 0.99, "p99_ms": 1.0}
    loaded = {"items": 1000, "read": 10.0, "embedded": 40.0, "indexed": 100.0, "memory_mb": 700.0}
    searches = {
        "ours": [{"clients": 1, **load_row(7, 140)}, {"clients": 32, **load_row(100, 320)}],
        "baseline": [{"clients": 1, **load_row(70, 14)}, {"clients": 32, **load_row(2000, 16)}],
    }
    pictures = [
        {"size": size, "way": way, "count": 8, "bare": 50.0}
        | {"ours": load_row(1, rate), "baseline": load_row(1, 2.0)}
        for size, way, rate in (
            ("large", "batch", 15.0),
            ("small", "batch", 45.0),
            ("small", "stream", 39.0),
        )
    ]
    return {
        "run": {
            "date": "2026-01-01 00:00 UTC",
            "plan": {"quick": False, "items": 1000, "rounds": 3},
            **describe(),
        },
        "starter": {"first": 9.0, "again": 4.0, **loaded},
        "load": loaded,
        "encoders": {"ours": encoders, "baseline": encoders},
        "index": [
            {**index, "index": "naive: IndexFlatL2", "p50_ms": 20.0},
            {**index, "index": "ours: hnsw", "p50_ms": 0.5},
        ],
        "search": searches,
        "cached": load_row(3, 300),
        "pictures": load_row(29, 30),
        "ingestion": pictures,
        "beside": {"idle": load_row(7, 100), "busy": load_row(15, 60)},
        "building": {"idle": load_row(10, 100), "busy": load_row(14, 60)},
        "filtered": {"every item": load_row(6, 150), "a category, a tenth": load_row(9, 100)},
        "fresh": {"median": 0.02, "worst": 0.04},
        "memory": {"pictures": 20_000, "few_mb": 800.0, "many_mb": 880.0},
    }


def test_targets_are_judged_by_what_was_measured(results: dict[str, Any]) -> None:
    judged = [(measured, reached) for _, _, measured, reached in targets(results)]
    assert judged == [
        ("10.0×", True),
        ("1.56×", False),
        ("20.0×", True),
        ("1.45×", True),
        ("7.5×", False),
        ("22.5×", True),
        ("90%", True),
        ("19.5×", True),
        ("78%", False),
        ("2.14×", False),
        ("1.40×", True),
        ("1.50×", True),
        ("0.04 s", True),
        ("90.0 s", True),
        ("4.00 s", False),
        ("not measured", None),
        ("880 MB, +10.0%", False),
    ]


def test_report_is_the_same_when_rendered_again(results: dict[str, Any], tmp_path: Path) -> None:
    text = report.write_report(results, tmp_path).read_text(encoding="utf-8")
    assert text == report.render(report.read_results(tmp_path))
    assert len(text.splitlines()) < 150
    plotted = {f"performance/{path.name}" for path in (tmp_path / "performance").glob("*.svg")}
    assert len(plotted) == 3
    assert all(f"]({name})" in text for name in plotted)


def test_the_report_that_is_kept_is_short() -> None:
    kept = material.ROOT / "docs" / report.REPORT
    assert len(kept.read_text(encoding="utf-8").splitlines()) < 150
