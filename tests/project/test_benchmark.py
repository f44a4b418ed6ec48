from __future__ import annotations

import io
import itertools
import json
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
from benchmarks.baseline_stores import MetadataStore, VectorStore
from benchmarks.latency import LoadResult, median, percentile
from benchmarks.load import content_length, picture_request, run_load, text_request
from benchmarks.targets import targets


def test_percentile_is_the_nearest_rank() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert [percentile(values, share) for share in (0, 0.05, 0.3, 0.4, 0.5, 1)] == [
        15,
        15,
        20,
        20,
        35,
        50,
    ]
    assert percentile(range(1, 101), 0.99) == 99


def test_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="No values"):
        percentile([], 0.5)


def test_median_of_an_even_count_lies_between() -> None:
    assert (median([3, 1, 2]), median([4, 1, 2, 3])) == (2, 2.5)


def test_load_result_sums_up_in_milliseconds() -> None:
    result = LoadResult((0.001, 0.002, 0.003, 0.004), elapsed=2.0, errors=1)
    assert result.summary() == {
        "p50": 2.0,
        "p90": 4.0,
        "p99": 4.0,
        "rate": 2.0,
        "requests": 4,
        "errors": 1,
    }


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
    requests = (text_request("/search_text/", text) for text in texts)
    result = run_load(echo.server_address[1], requests, clients=4)
    assert (len(result.durations), result.errors) == (20, 1)
    assert sorted(json.loads(body)["query_text"] for body in Echo.bodies) == sorted(texts)


def test_run_load_stops_when_its_time_is_over(echo: ThreadingHTTPServer) -> None:
    requests = (text_request("/", f"{number}") for number in itertools.count())
    result = run_load(echo.server_address[1], requests, clients=2, seconds=0.2)
    assert len(Echo.bodies) == len(result.durations) > 0


def test_run_load_sends_what_a_socket_cannot_take_at_once(
    echo: ThreadingHTTPServer, tmp_path: Path
) -> None:
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(bytes(range(256)) * 40_000)
    result = run_load(echo.server_address[1], iter([picture_request("/", picture)]), clients=3)
    assert len(result.durations) == 1
    (body,) = Echo.bodies
    assert picture.read_bytes() in body
    assert b'name="item_id"\r\n\r\nphoto\r\n' in body


def test_content_length_is_found_in_any_case() -> None:
    assert content_length(b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 12") == 12
    with pytest.raises(ValueError, match="no Content-Length"):
        content_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")


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


def test_baseline_stores_find_the_nearest_and_persist(tmp_path: Path) -> None:
    vectors = np.eye(3, 4, dtype=np.float32)
    store = VectorStore(tmp_path / "index.faiss", 4)
    assert (store.add(vectors[:2]), store.add(vectors[2:])) == (0, 2)
    store.save()
    again = VectorStore(tmp_path / "index.faiss", 4)
    assert again.search(vectors[1:2], 2) == [(1, 0.0), (0, 2.0)]
    metadata = MetadataStore(tmp_path / "metadata.db")
    metadata.add([("a", "", "one", "", "", "", "", 0), ("b", "", "two", "", "", "", "", 1)])
    rows = MetadataStore(tmp_path / "metadata.db").by_faiss_ids([1, 7])
    assert {faiss_id: row["caption"] for faiss_id, row in rows.items()} == {1: "two"}


def test_bars_are_valid_svg_and_always_the_same() -> None:
    groups = [("1 <client>", (5.0, 10.0)), ("8 clients", (2.5, None))]
    chart = plots.bars("Latency & more", "ms", ("ours", "baseline"), groups)
    assert chart == plots.bars("Latency & more", "ms", ("ours", "baseline"), groups)
    root = ET.fromstring(chart)
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(rect.attrib["width"]) for rect in root.iter(f"{space}rect")][2:]
    assert [width / widths[1] for width in widths] == [0.5, 1, 0.25]
    labels = [text.text for text in root.iter(f"{space}text")]
    assert {"1 <client>", "5.00 ms", "10.0 ms", "2.50 ms"} <= set(labels)


def load_row(p50: float, rate: float) -> dict[str, float]:
    return {
        "p50": p50,
        "p90": p50,
        "p99": p50 * 2,
        "rate": rate,
        "cpu": 100.0,
        "memory_mb": 500.0,
    }


@pytest.fixture
def results() -> dict[str, Any]:
    encoders = [
        {"modality": modality, "batch": batch, "ms": batch * cost, "runs": 3}
        for batch in (1, 8)
        for modality, cost in (("text", 4.0), ("image", 20.0))
    ]
    return {
        "run": {
            "date": "2026-01-01 00:00 UTC",
            "quick": False,
            "items": 1000,
            "rounds": 3,
            "note": "A note.",
            "machine": {
                "processor": "CPU",
                "cores": 2,
                "flags": ["avx2"],
                "memory_gb": 8,
                "system": "Linux 6",
                "load_before": 0.1,
            },
            "versions": {"Python": "3.11"},
        },
        "encoders": {"ours-int8": encoders, "baseline": encoders},
        "index": [
            {
                "vectors": 1_000_000,
                "index": "ours: hnsw",
                "build_s": 300.0,
                "bytes_per_vector": 790.0,
                "open_ms": 600.0,
                "recall": 0.995,
                "p50_ms": 0.9,
                "p99_ms": 1.5,
                "building_p50_ms": 20.0,
            }
        ],
        "start": {"ours": 4.0, "baseline": 9.0},
        "search": {
            "ours": [
                {"clients": 1, **load_row(7.0, 140)},
                {"clients": 32, **load_row(100.0, 320)},
            ],
            "baseline": [
                {"clients": 1, **load_row(70.0, 14)},
                {"clients": 32, **load_row(2000.0, 16)},
            ],
        },
        "cached": load_row(3.0, 300),
        "ingestion": [
            {
                "size": size,
                "way": "batch",
                "count": 8,
                "ours": load_row(1, rate),
                "baseline": load_row(1, 2.5),
                "bare": 50.0,
            }
            for size, rate in (("large", 15.0), ("small", 45.0))
        ],
        "beside": {"idle": load_row(7.0, 100), "busy": load_row(15.0, 60), "rounds": 3},
        "fresh": {"median": 0.02, "worst": 0.04, "from_upload": 0.2},
        "memory": {
            "steps": [
                {"items": 1000, "worker_mb": 400.0, "web_mb": 300.0},
                {"items": 20000, "worker_mb": 410.0, "web_mb": 310.0},
            ]
        },
        "anatomy": {
            "search": {
                "stages": {"encoder": 3.5, "index": 0.5, "search": 5.0, "wsgi": 6.5},
                "functions": [{"function": "search/services.py:78 search", "ms": 1, "calls": 1}],
            },
            "ingest": {
                size: {"full_decode": 1, "door": 1, "read_preview": 1, "encode": 1}
                for size in ("large", "small")
            },
        },
    }


def test_targets_are_judged_by_what_was_measured(results: dict[str, Any]) -> None:
    judged = [(target.measured, target.reached) for target in targets(results)]
    assert judged == [
        ("7.00 ms, 10.0× lower", True),
        ("7.00 ms for 4.00 ms, 1.75×", True),
        ("320 /s, 20.0×", True),
        ("15.0 /s, 6.0×", False),
        ("45.0 /s, 90%", True),
        ("0.9950", True),
        ("0.90 ms", True),
        ("790", True),
        ("600 ms", False),
        ("yes, P50 20.0 ms", True),
        ("4.0 s", True),
        ("median 20 ms, worst 40 ms", True),
        ("30.0 ms for 14.0 ms, 2.14×", False),
        ("400 → 410 MB, +2.5 %", True),
        ("not measured in this run", None),
    ]


def test_report_is_the_same_when_rendered_again(results: dict[str, Any], tmp_path: Path) -> None:
    written = report.write_report(results, tmp_path)
    text = written.read_text(encoding="utf-8")
    assert text == report.render(report.read_results(tmp_path))
    assert "| 32 clients, queries a second | 320 | 16.0 | 20.0× |" in text
    assert "| first result over an empty data folder, after install | ≤ 30 s | not measured" in text
    plotted = {f"performance/{path.name}" for path in (tmp_path / "performance").glob("*.svg")}
    assert len(plotted) == 4
    assert all(f"]({name})" in text for name in plotted)
