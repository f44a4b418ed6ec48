"""A running installation whose model is switched and rolled back, under load and while some die.

`python -m tests.switching` is the long form of `tests/project/test_switching.py`: 5,000 items, the
starter and a variation of it. It prints what it finds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import ROOT, captions
from benchmarks.processes import kill
from benchmarks.servers import BenchmarkError, Ours
from embeddings.encoders.base import Modality, Purpose

QUERIES = ("zumbral fexing", "quondle", "brisk ovelty marn", "threnk", "wispel gorrow")
ASKED = {"modality": "text", "top_n": 20, "all": True}
"""By meaning alone, so that the order is that of inner products."""
TOLERANCE = 2e-3
"""Differences of inner products that rounding may turn round."""


@dataclasses.dataclass
class Report:
    """What the clients met."""

    searches: int = 0
    errors: list[str] = dataclasses.field(default_factory=list)
    empty: int = 0
    mixed: list[str] = dataclasses.field(default_factory=list)
    answered_by: list[str] = dataclasses.field(default_factory=list)
    """The models that answered, each time another one did."""
    written: int = 0
    found_after: list[float] = dataclasses.field(default_factory=list)
    """Seconds from an item's vector to its first being found, after each switch."""


class Oracle:
    """Which model an answer is of: its order must be that of the model's own inner products."""

    def __init__(
        self, ours: Ours, encode: Mapping[str, Callable[[str], NDArray[np.float32]]]
    ) -> None:
        self._vectors = {model: _vectors(ours, model) for model in encode}
        self._queries = {
            (model, query): encoder(query) for model, encoder in encode.items() for query in QUERIES
        }

    def models_of(self, query: str, item_ids: list[str]) -> set[str]:
        """The models whose order the answer's lasting items are in."""
        return {model for model in self._vectors if self._is_of(model, query, item_ids)}

    def _is_of(self, model: str, query: str, item_ids: list[str]) -> bool:
        vectors = self._vectors[model]
        known = [vectors[item_id] for item_id in item_ids if item_id in vectors]
        scores = np.array(known) @ self._queries[model, query]
        return bool((np.diff(scores) <= TOLERANCE).all())


def _vectors(ours: Ours, model: str) -> dict[str, NDArray[np.float32]]:
    rows = ours.rows(
        "SELECT i.item_id, e.vector FROM embeddings_embedding e"
        " JOIN catalog_item i ON i.id = e.item_id JOIN embeddings_embeddingspace s"
        f" ON s.id = e.space_id WHERE s.source = '{model}' AND i.item_id LIKE 'item-%'"
    )
    return {
        item_id: np.frombuffer(vector, dtype="<f2").astype(np.float32) for item_id, vector in rows
    }


class Load:
    """Clients that search, and one that adds, edits and deletes, until told to stop."""

    def __init__(self, ours: Ours, oracle: Oracle, report: Report) -> None:
        self._ours = ours
        self._oracle = oracle
        self._report = report
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._switched = 0.0
        self._threads = [
            *(threading.Thread(target=self._search, args=[n], daemon=True) for n in range(2)),
            threading.Thread(target=self._write, daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _search(self, number: int) -> None:
        while not self._stop.is_set():
            number += 1
            query = QUERIES[number % len(QUERIES)]
            began = time.perf_counter()
            try:
                answer = self._ours.post("/api/v1/search/", {"q": query, **ASKED})
            except (OSError, BenchmarkError) as exc:
                self._report.errors.append(f"search: {exc}")
                continue
            self._judge(query, began, [result["item_id"] for result in answer["results"]])

    def _judge(self, query: str, began: float, item_ids: list[str]) -> None:
        with self._lock:
            self._report.searches += 1
            if not item_ids:
                self._report.empty += 1
                return
            models = self._oracle.models_of(query, item_ids)
            if not models:
                self._report.mixed.append(f"{query}: {item_ids}")
            # An answer begun before the switch may come after the first that was begun behind it.
            if len(models) == 1 and began > self._switched:
                (model,) = models
                if self._report.answered_by[-1:] != [model]:
                    self._report.answered_by.append(model)
                    self._switched = time.perf_counter()

    def _write(self) -> None:
        """Add, edit and delete items beside those that last."""
        for number in range(10**9):
            if self._stop.is_set():
                return
            record = {"item_id": f"passing-{number}", "caption": f"passing thing {number}"}
            edited = {"item_id": f"passing-{number - 3}", "caption": f"edited thing {number}"}
            try:
                self._ours.bulk([record, edited])
                if number >= 6:
                    self._delete(f"passing-{number - 6}")
            except (OSError, BenchmarkError) as exc:
                self._report.errors.append(f"write: {exc}")
            self._report.written += 1
            self._stop.wait(0.2)

    def _delete(self, item_id: str) -> None:
        status, content = self._ours.ask("DELETE", f"/api/v1/items/{item_id}/")
        if status not in {204, 404}:
            self._report.errors.append(f"delete: {status} {content[:200]!r}")


def fill(ours: Ours, count: int) -> None:
    """Items that last, embedded."""
    texts = islice(captions(seed=5), count)
    records = [{"item_id": f"item-{n}", "caption": text} for n, text in enumerate(texts)]
    for start in range(0, count, 500):
        ours.bulk(records[start : start + 500])
    ours.wait_idle()


def spaces(ours: Ours) -> dict[str, dict[str, Any]]:
    """The live spaces by the name of their model."""
    told = json.loads(ours.manage("spaces", "--json"))
    return {space["source"]: space for space in told["spaces"]}


def answers(ours: Ours) -> str:
    """The model whose space is active."""
    active = "SELECT source FROM embeddings_embeddingspace WHERE state = 'active'"
    ((model,),) = ours.rows(active)
    return str(model)


def switch_three_times(ours: Ours, model: str, other: str, report: Report) -> None:
    """Switch to `other` and back, three times, each by another way."""
    ways: list[tuple[str, list[str]]] = [
        (other, ["open_space", other, "--wait"]),
        (model, ["rollback_space"]),
        (other, ["rollback_space"]),
        (model, ["activate_space", str(spaces(ours)[model]["id"])]),
        (other, ["open_space", other, "--wait"]),
        (model, ["rollback_space"]),
    ]
    for number, (expected, command) in enumerate(ways):
        ours.manage(*command)
        if answers(ours) != expected:
            raise BenchmarkError(f"After {command} {expected} does not answer: {spaces(ours)}")
        report.found_after.append(find_a_new_one(ours, f"fresh-{number}"))


def find_a_new_one(ours: Ours, item_id: str) -> float:
    """Add an item; the seconds from its vector's commit to its being found."""
    caption = f"{item_id} newcomer"
    ours.bulk([{"item_id": item_id, "caption": caption}])
    committed = (
        "SELECT count(*) FROM embeddings_embedding e JOIN catalog_item i ON i.id = e.item_id"
        " JOIN embeddings_embeddingspace s ON s.id = e.space_id"
        f" WHERE i.item_id = '{item_id}' AND s.state = 'active'"
    )
    ours.wait(lambda: ours.rows(committed)[0][0] == 1, f"the vector of {item_id}")
    started = time.perf_counter()
    ended = ours.wait(lambda: item_id in ours.found(caption, top_n=100), f"{item_id} found")
    return ended - started


def settle(ours: Ours) -> None:
    """Wait until every space has embedded everything."""

    def done() -> bool:
        return all(space["waiting"] == 0 for space in ours.get("/stats/")["spaces"])

    ours.wait(done, "empty queues", poll=0.5)


def run(
    ours: Ours,
    *,
    items: int,
    model: str,
    other: str,
    encode: Mapping[str, Callable[[str], NDArray[np.float32]]],
) -> Report:
    """Fill, build the second space beside, then switch and roll back under load."""
    report = Report()
    ours.start()
    fill(ours, items)
    ours.environment["MMSEARCH_SWITCH"] = "manual"  # of the commands alone
    ours.manage("open_space", other, "--wait")
    ours.environment["MMSEARCH_SWITCH"] = "auto"
    with Load(ours, Oracle(ours, encode), report):
        switch_three_times(ours, model, other, report)
    settle(ours)
    return report


STEPS = {
    "building": "SELECT 1 FROM {target} AND complete_since IS NULL",
    "complete": "SELECT 1 FROM {target} AND complete_since IS NOT NULL",
    "warm": "SELECT 1 FROM embeddings_livingprocess WHERE warm_id = (SELECT id FROM {target})",
    "active": "SELECT 1 FROM {target} AND state = 'active'",
}
"""How each step of a switch shows in the database."""
VICTIMS = ("web", "cluster", "command", "all")


def die_at_every_step(ours: Ours, victims: Iterable[str], model: str) -> None:
    """Switch to a new model; at each step `kill -9` one victim; wait for the end of it.

    No step is over before its victim is dead: a process that is not warm holds up the last one.
    """
    target = f"embeddings_embeddingspace WHERE source = '{model}' AND state <> 'retired'"
    with Straggler(ours) as straggler:
        command = _switch(ours, model)
        for (step, reached), victim in zip(STEPS.items(), victims, strict=True):
            if step == "active":
                straggler.vanish()
            sign = reached.format(target=target)
            ours.wait(partial(_shows, ours, sign), f"{step} of {model}", poll=0.005)
            command = _kill(ours, victim, command, model)
        ours.wait(partial(_shows, ours, sign), f"{model} to answer")
        command.wait()


class Straggler:
    """A serving process that is never warm, to the end of the block or until it vanishes."""

    def __init__(self, ours: Ours) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.straggler"],
            cwd=ROOT,
            env=ours.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        stdout = self._process.stdout
        assert stdout is not None
        assert stdout.readline() == b"serving\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def vanish(self) -> None:
        """Serve no longer: nobody waits for it."""
        self._process.communicate()


def _switch(ours: Ours, model: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "open_space", model, "--wait"],
        cwd=ROOT,
        env=ours.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _shows(ours: Ours, sign: str) -> bool:
    return bool(ours.rows(sign))


def _kill(
    ours: Ours, victim: str, command: subprocess.Popen[bytes], model: str
) -> subprocess.Popen[bytes]:
    """`kill -9`; who killed all starts again. The command that switches, by then."""
    if victim == "command":
        command.kill()
    elif victim == "all":
        process = ours.process
        assert process is not None
        kill(ours.processes())
        process.wait()
        command.kill()
        command.wait()
        ours.start()
        return _switch(ours, model)
    else:
        named = (
            each for each in ours.processes() if f"mmsearch_project.{victim}" in each.cmdline()
        )
        next(named).kill()
    return command


def vary_starter(directory: Path) -> Path:
    """Another small CLIP: the starter with disturbed weights."""
    from safetensors.numpy import load_file, save_file

    from embeddings.encoders.finding.model_files import STARTER_DIRECTORY

    shutil.copytree(STARTER_DIRECTORY, directory, ignore=shutil.ignore_patterns("prepared"))
    weights = load_file(directory / "model.safetensors")
    random = np.random.default_rng(7)
    for name, weight in weights.items():
        if weight.ndim == 2:
            noise = random.standard_normal(weight.shape).astype(weight.dtype)
            weights[name] = weight + np.float32(0.2 * weight.std()) * noise
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def _encoder(model: str, models: Path) -> Callable[[str], NDArray[np.float32]]:
    from embeddings.encoders.serving.prepared_encoder import PreparedEncoder

    encoder = PreparedEncoder(model, models)

    def encode(text: str) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = encoder.encode(Modality.TEXT, [text], purpose=Purpose.QUERY)
        row: NDArray[np.float32] = rows[0]
        return row

    return encode


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5000)
    items = parser.parse_args().items
    with tempfile.TemporaryDirectory() as folder:
        other = str(vary_starter(Path(folder) / "variation"))
        with Ours(Path(folder) / "data", WEB_CONCURRENCY="2") as ours:
            models = ours.folder / "models"
            encode = {model: _encoder(model, models) for model in ("starter", other)}
            report = run(ours, items=items, model="starter", other=other, encode=encode)
            sys.stdout.write(
                f"{report.searches:,} searches, {report.written:,} rounds of writing:"
                f" {len(report.errors)} errors, {report.empty} empty, {len(report.mixed)} mixed"
                f" answers; {len(report.answered_by) - 1} switches seen; added items found"
                f" {max(report.found_after):.2f} s after their vectors at the latest.\n"
            )
            told = (*report.errors[:5], *report.mixed[:5], ours.manage("check_index"))
            sys.stdout.write("\n".join(told))


if __name__ == "__main__":
    main()
