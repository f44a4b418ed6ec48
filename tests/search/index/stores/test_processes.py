"""Claims about processes, shown with processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search.index.stores.faiss import compaction, plan
from search.index.stores.faiss.store import FaissStore
from tests.search.index.stores.clusters import clustered
from tests.search.index.stores.compacting_process import DIMENSION, KEY

ROOT = Path(__file__).parents[4]


def run_compaction(
    directory: Path, *, first_id: int, count: int, position: int, stage: str = ""
) -> subprocess.CompletedProcess[str]:
    module = "tests.search.index.stores.compacting_process"
    arguments = [str(directory), str(first_id), str(count), str(position), stage]
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaissStore:
    """A store whose 2,000 vectors another process compacted at position 1."""
    monkeypatch.setattr(plan, "EXACT_ROWS", 500)
    assert run_compaction(tmp_path, first_id=0, count=2000, position=1).returncode == 0
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    assert store.refresh() == 1
    store.commit(1)
    return store


def test_a_snapshot_of_another_process_is_taken_over(store: FaissStore, tmp_path: Path) -> None:
    assert store.ids().tolist() == list(range(2000))
    done = run_compaction(tmp_path, first_id=2000, count=500, position=7)
    assert done.returncode == 0, done.stderr
    assert len(store) == 2000
    assert store.refresh() == 7
    assert len(store) == 2000
    store.commit(7)
    assert store.ids().tolist() == list(range(2500))
    (match,) = store.search(clustered(500, DIMENSION, seed=2000)[3:4], 1)
    assert match.ids.tolist() == [2003]


@pytest.mark.parametrize(
    ("stage", "position", "count"),
    [
        ("indexing", 1, 2000),
        ("sealing", 1, 2000),
        ("publishing", 1, 2000),
        ("pruning", 7, 2500),
    ],
)
def test_a_killed_compaction_leaves_a_whole_snapshot(
    store: FaissStore, tmp_path: Path, stage: str, position: int, count: int
) -> None:
    killed = run_compaction(tmp_path, first_id=2000, count=500, position=7, stage=stage)
    assert killed.returncode == -signal.SIGKILL
    survivor = FaissStore(DIMENSION, tmp_path, key=KEY)
    assert survivor.refresh() == position
    survivor.commit(position)
    assert survivor.ids().tolist() == list(range(count))
    assert survivor.verify() == []
    assert survivor.compact(), "the dead process holds no lock"
    assert len(list(tmp_path.glob("snapshot-*"))) == 2, "what it left is gone"
    assert len(store) == 2000


def test_only_one_process_compacts_at_a_time(
    store: FaissStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[subprocess.CompletedProcess[str]] = []
    write = compaction.write

    def write_meanwhile(*args: object, **kwargs: object) -> compaction.Written:
        seen.append(run_compaction(tmp_path, first_id=5000, count=10, position=9))
        return write(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(compaction, "write", write_meanwhile)
    store.remove(np.arange(5))
    store.commit(2)
    assert store.compact()
    assert seen[0].stderr == "another process compacts\n"
    assert seen[0].returncode == 1
    assert store.stats().snapshot_position == 2
