"""What a model of each family costs here: pictures, texts, a query, memory.

    python -m benchmarks models [NAME …]

Full-size models of random weights are prepared as a user's are, and measured in a process that does
nothing else: the processor time of one thread, which other work on the machine changes little.
Pictures are decoded beforehand, and resized within the measured time. The table in `docs/models.md`
is written row by row.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from PIL import Image

from benchmarks.figures import describe, table
from benchmarks.full_size import MODELS, PREPARED, prepare
from benchmarks.material import captions, ensure_pictures
from benchmarks.processes import apart, memory_mb
from embeddings.encoders.base import Modality, Purpose

PICTURES: Final = 16
TEXTS: Final = 128
QUERIES: Final = 40
ROUNDS: Final = 3
"""Times that each batch is encoded; the median counts."""
COLUMNS: Final = {
    "like": "as large as",
    "parameters": "parameters, million",
    "pictures": "pictures/s",
    "texts": "texts/s",
    "query": "ms a query",
    "memory": "memory, MB",
    "disk": "on disk, MB",
}


def run_models(names: Sequence[str], *, output: Path, say: Callable[[str], None]) -> None:
    """Measure these models, by default all, one after another."""
    file, page = output / "models.json", output / "models.md"
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else {}
    for name in names or MODELS:
        say(f"{name}: preparing")
        model = apart(prepare, name)
        say(f"{name}: measuring")
        rows[name] = {"like": MODELS[name].public} | apart(sizes, model) | apart(costs, model)
        say(f"{name}: {json.dumps(rows[name])}")
        rows = {each: rows[each] for each in MODELS if each in rows}
        machine = describe()
        machine.pop("load_before")
        results = {"machine": machine, "rows": rows}
        file.write_text(json.dumps(results, indent=1), encoding="utf-8")
        shown = table(
            [*COLUMNS.values()], [[str(r[key]) for key in COLUMNS] for r in rows.values()]
        )
        page.write_text(_with_table(page.read_text(encoding="utf-8"), shown), encoding="utf-8")


def _with_table(page: str, shown: str) -> str:
    """The page with the table between its two marks."""
    marks = r"(<!-- figures of `python -m benchmarks models` -->\n).*(<!-- end -->\n)"
    return re.sub(marks, lambda found: f"{found[1]}\n{shown}\n\n{found[2]}", page, flags=re.DOTALL)


def sizes(model: str) -> dict[str, Any]:
    """How many weights a model has, its pictures' tower included, and its size prepared."""
    from embeddings.encoders.finding.model_files import resolve_model
    from embeddings.encoders.finding.prepared import find_prepared

    files = resolve_model(model)
    towers = files.checkpoint.towers().values()
    weights = {id(weight): weight.numel() for tower in towers for weight in tower.parameters()}
    prepared = find_prepared(PREPARED, files, "cpu")
    assert prepared is not None
    size = sum(path.stat().st_size for path in prepared.directory.iterdir())
    return {"parameters": round(sum(weights.values()) / 1e6), "disk": round(size / 1e6)}


def costs(model: str) -> dict[str, Any]:
    """Both towers at their best batch, and single texts, in this process."""
    from embeddings.encoders.serving.prepared_encoder import PreparedEncoder

    encoder = PreparedEncoder(model, PREPARED, device="cpu", threads=1)
    small = [Image.open(io.BytesIO(data)).convert("RGB") for data in ensure_pictures()["small"]]
    pictures = (small * PICTURES)[:PICTURES]
    words = captions(seed=7)
    encoder.warm_up()

    def milliseconds(modality: Modality, inputs: Sequence[Any], purpose: Purpose) -> float:
        started = time.process_time()
        encoder.encode(modality, inputs, purpose=purpose)
        return (time.process_time() - started) * 1000

    document = Purpose.DOCUMENT
    image = median(milliseconds(Modality.IMAGE, pictures, document) for _ in range(ROUNDS))
    text = median(
        milliseconds(Modality.TEXT, list(islice(words, TEXTS)), document) for _ in range(ROUNDS)
    )
    query = median(milliseconds(Modality.TEXT, [w], Purpose.QUERY) for w in islice(words, QUERIES))
    return {
        "pictures": round(PICTURES / image * 1000, 1),
        "texts": round(TEXTS / text * 1000),
        "query": round(query, 1),
        "memory": round(memory_mb([psutil.Process()])),
    }
