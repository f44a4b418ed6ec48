"""What a model of each family costs here: pictures, texts, a query, memory.

    python -m benchmarks models [NAME …]

Full-size models of random weights are prepared as a user's are, in a process of their own unless an
earlier run did, and measured in another that does nothing else: the processor time of one thread,
which other work on the machine changes little. Pictures are decoded beforehand, and resized within
the measured time. int8 is insisted on: random weights say nothing about what quantising costs in
quality, and the cost in time is the same. The table in `docs/models.md` is written row by row.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import full_size_models, material
from benchmarks.machine import describe
from benchmarks.processes import memory_mb

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = material.WORK / "models"
FIGURES: Final = "figures of `python -m benchmarks models`"
PICTURES: Final = 16
TEXTS: Final = 128
QUERIES: Final = 40
ROUNDS: Final = 3
"""Times that each batch is encoded; the median counts."""
CALIBRATED_ON: Final = 8
"""Pictures, and captions, of the demo catalogue that give the ranges of int8."""
COLUMNS: Final = {
    "like": "as large as",
    "parameters": "parameters, million",
    "pictures": "pictures/s",
    "texts": "texts/s",
    "query": "ms a query",
    "memory": "memory, MB",
    "disk": "on disk, MB",
}


def run_models(names: Sequence[str], output: Path, say: Callable[[str], None]) -> None:
    """Measure these models, by default all, one after another."""
    rows = _read(output / "models.json")
    for name in names or full_size_models.MODELS:
        say(f"{name}: building")
        row = {"like": full_size_models.MODELS[name].public} | _child("build", name)
        say(f"{name}: preparing")
        row |= _child("prepare", name)
        say(f"{name}: measuring")
        rows[name] = row | _child("measure", name)
        say(f"{name}: {json.dumps(rows[name])}")
        machine = describe()
        machine.pop("load_before")
        results = {"machine": machine, "rows": rows}
        (output / "models.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
        _write_table(output / "models.md", rows)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {name: rows[name] for name in full_size_models.MODELS if name in rows}


def _write_table(path: Path, rows: dict[str, Any]) -> None:
    """Put the rows between the two marks of the page."""
    lines = [f"| {' | '.join(COLUMNS.values())} |", f"|{' --- |'}{' ---: |' * (len(COLUMNS) - 1)}"]
    lines += [
        f"| {' | '.join(str(row[key]) for key in COLUMNS)} |"
        for row in (rows[name] for name in full_size_models.MODELS if name in rows)
    ]
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(f"<!-- {FIGURES} -->\n")
    _old, after = rest.split("<!-- end -->\n")
    table = "\n".join(lines)
    page = f"{before}<!-- {FIGURES} -->\n\n{table}\n\n<!-- end -->\n{after}"
    path.write_text(page, encoding="utf-8")


def _child(action: str, name: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.models", action, name],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def build(name: str) -> dict[str, Any]:
    """Write the model; how many weights it has, its pictures' tower included."""
    from embeddings.encoders.finding.model_files import resolve_model

    files = resolve_model(full_size_models.build(name, FOLDER)).checkpoint
    towers = files.towers().values()
    weights = {id(weight): weight.numel() for tower in towers for weight in tower.parameters()}
    return {"parameters": round(sum(weights.values()) / 1e6)}


def prepare(name: str) -> dict[str, Any]:
    """Prepare the model in int8 on some of the demo catalogue, unless an earlier run did."""
    from embeddings.encoders.finding.model_files import resolve_model
    from embeddings.encoders.finding.prepared import find_prepared
    from embeddings.encoders.preparing.export import export_missing
    from embeddings.encoders.preparing.parity import demo_samples

    def samples() -> dict[Any, Sequence[Any]]:
        return {kind: every[:CALIBRATED_ON] for kind, every in demo_samples().items()}

    model, directory = full_size_models.build(name, FOLDER), FOLDER / "prepared"
    export_missing(
        model,
        directory,
        precision="int8",
        samples=samples,
        progress=lambda message: print(message, file=sys.stderr),
    )
    prepared = find_prepared(directory, resolve_model(model), "cpu")
    assert prepared is not None
    size = sum(path.stat().st_size for path in prepared.directory.iterdir())
    return {"disk": round(size / 1e6)}


def measure(name: str) -> dict[str, Any]:
    """Both towers at their best batch, and single texts, in this process."""
    import psutil
    from PIL import Image

    from embeddings.encoders.base import Modality, Purpose
    from embeddings.encoders.serving.prepared_encoder import PreparedEncoder

    model = full_size_models.build(name, FOLDER)
    encoder = PreparedEncoder(model, FOLDER / "prepared", device="cpu", threads=1)
    small = [Image.open(io.BytesIO(data)) for data in material.ensure_pictures()["small"]]
    pictures = ([image.convert("RGB") for image in small] * PICTURES)[:PICTURES]
    words = material.captions(seed=7)
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


if __name__ == "__main__":
    actions = {"build": build, "prepare": prepare, "measure": measure}
    print(json.dumps(actions[sys.argv[1]](sys.argv[2])))
