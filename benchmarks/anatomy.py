"""Where the time of a search and of an ingested picture goes.

    MMSEARCH_DATA_DIR=… python -m benchmarks.anatomy search|ingest COUNT

One thread, no server: each stage is timed by itself on the application's own functions, over the
same items as the served measurements. Prints JSON.
"""

from __future__ import annotations

import cProfile
import io
import json
import os
import pstats
import re
import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import django

from benchmarks.latency import median
from benchmarks.material import ROOT, captions, ensure_pictures, with_comment

TOP: Final = 12
"""Functions listed."""
Row = dict[str, Any]


def timed(run: Callable[[Any], object], inputs: Iterable[Any]) -> float:
    """Median milliseconds of `run` over the inputs."""
    durations = []
    for value in inputs:
        started = time.perf_counter()
        run(value)
        durations.append(time.perf_counter() - started)
    return median(durations) * 1000


def search_anatomy(count: int) -> Row:
    """Stages of a text search, each including the ones before it, and the busiest functions."""
    from django.core.wsgi import get_wsgi_application

    from embeddings.backends import default_encoder
    from search.answer.answering import search
    from search.answer.query import SearchQuery
    from search.index.space_index import current_index

    application = get_wsgi_application()
    texts = captions(seed=11)
    index = current_index()
    index.sync()
    encoder = default_encoder()

    def scan(vectors: Any) -> None:
        for store in index.stores.values():
            store.search(vectors, 5)

    vectors = iter([encoder.encode_texts([text]) for text in islice(texts, count)])
    runs: dict[str, Callable[[str], object]] = {
        "encoder": lambda text: encoder.encode_texts([text]),
        "index": lambda _text: scan(next(vectors)),
        "search": lambda text: search(SearchQuery(text=text, top_n=5)),
        "wsgi": lambda text: _ask(application, text),
    }
    durations: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count):  # in turn, so that a slow moment of the machine slows all of them
        for name, run in runs.items():
            durations[name].append(timed(run, [next(texts)]))
    stages = {name: median(values) for name, values in durations.items()}
    profile = cProfile.Profile()
    asked = list(islice(texts, count))
    profile.enable()
    for text in asked:
        _ask(application, text)
    profile.disable()
    return {"stages": stages, "functions": busiest(profile, len(asked))}


def _ask(application: Callable[..., Iterable[bytes]], text: str) -> None:
    """One POST /search_text/ through the whole of Django, without a socket."""
    body = json.dumps({"query_text": text, "top_n": 5}).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/search_text/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
    }
    statuses: list[str] = []
    answer = application(environ, lambda status, _headers: statuses.append(status))
    b"".join(answer)
    getattr(answer, "close", lambda: None)()
    if not statuses[0].startswith("200"):
        raise RuntimeError(f"/search_text/ answered {statuses[0]}")


def ingest_anatomy(count: int) -> Row:
    """Milliseconds a picture of each stage between file and vector, one thread."""
    from PIL import Image

    from catalog.ingest.images import check_image
    from embeddings.backends import default_encoder

    encoder = default_encoder()
    rows: Row = {}
    for size, pictures in ensure_pictures().items():
        files = [with_comment(pictures[n % len(pictures)], str(n)) for n in range(count)]
        checked = [check_image(data, filename="a.jpg") for data in files]
        previews = [c.preview or data for c, data in zip(checked, files, strict=True)]

        def decode(data: bytes) -> Image.Image:
            return Image.open(io.BytesIO(data)).convert("RGB")

        decoded = [decode(data) for data in previews]
        batches = [decoded[start : start + 8] for start in range(0, len(decoded), 8)]
        rows[size] = {
            "full_decode": timed(decode, files),
            "door": timed(lambda data: check_image(data, filename="a.jpg"), files),
            "read_preview": timed(decode, previews),
            "encode": timed(encoder.encode_images, [*batches, *batches]) / 8,
        }
    return rows


def busiest(profile: cProfile.Profile, calls: int) -> list[Row]:
    """Functions by their own time, milliseconds a call of the whole."""
    stats: Any = pstats.Stats(profile)
    entries = sorted(stats.stats.items(), key=lambda entry: -entry[1][2])
    return [
        {"function": _name(*function), "ms": own * 1000 / calls, "calls": count / calls}
        for function, (_, count, own, _, _) in entries[:TOP]
    ]


def _name(path: str, line: int, function: str) -> str:
    """A function without the machine's folders."""
    if path == "~":
        return re.sub(r" at 0x[0-9a-f]+", "", function)
    parts = Path(path).parts
    if "site-packages" in parts:
        parts = parts[parts.index("site-packages") + 1 :]
    elif Path(path).is_relative_to(ROOT):
        parts = Path(path).relative_to(ROOT).parts
    else:
        parts = parts[-2:]
    return f"{'/'.join(parts)}:{line} {function}"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    django.setup()
    measure = {"search": search_anatomy, "ingest": ingest_anatomy}[sys.argv[1]]
    json.dump(measure(int(sys.argv[2])), sys.stdout)


if __name__ == "__main__":
    main()
