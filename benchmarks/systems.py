"""The two systems, each started as its operator would, each over a folder of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil

from benchmarks.material import PREPARED, ROOT
from benchmarks.servers import BenchmarkError, Server


class Ours(Server):
    """`make run`: supervisor, web server, worker."""

    name = "ours"
    ready_path = "/readyz"
    embedded_since = "SELECT count(DISTINCT item_id) FROM embeddings_embedding WHERE item_id > ?"
    last_embedded = "SELECT max(item_id) FROM embeddings_embedding"

    def __init__(self, folder: Path, *, model: str, demo: bool = False) -> None:
        super().__init__(folder)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MMSEARCH_")}
        self.environment = kept | {
            "DJANGO_SETTINGS_MODULE": "mmsearch_project.settings",
            "MMSEARCH_DATA_DIR": str(folder),
            "MMSEARCH_MODEL": model,
            "MMSEARCH_DEMO": "1" if demo else "0",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "mmsearch_project"]

    @property
    def database(self) -> Path:
        return self.folder / "mmsearch.sqlite3"

    def share_prepared_models(self) -> None:
        """Use models that an earlier run prepared."""
        (self.folder / "models").symlink_to(PREPARED / "int8")

    def run(self, *arguments: str) -> str:
        """Run a Python module (`-m` comes first) or script over this data folder; its output."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(
                f"{' '.join(arguments[:3])} failed:\n{done.stdout[-800:]}{done.stderr[-1500:]}"
            )
        return done.stdout

    def role(self, role: str) -> list[psutil.Process]:
        """Its ``web`` or ``worker`` processes."""
        mark = {"web": "mmsearch_project.web", "worker": "mmsearch_project.worker"}[role]
        chosen = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(mark in part for part in process.cmdline()):
                    chosen.append(process)
        return chosen


class Baseline(Server):
    """The original design under uvicorn."""

    name = "baseline"
    ready_path = "/stats/"
    embedded_since = "SELECT count(*) FROM items WHERE id > ?"
    last_embedded = "SELECT max(id) FROM items"

    def __init__(self, folder: Path, *, model: Path, vectors: Path, captions: Path) -> None:
        super().__init__(folder)
        self._model = str(model)
        self._preload = ["--vectors", str(vectors), "--captions", str(captions)]
        self.environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

    @property
    def _folders(self) -> list[str]:
        return ["--model", self._model, "--data", str(self.folder)]

    @property
    def command(self) -> list[str]:
        serve = [sys.executable, "-m", "benchmarks.baseline", "serve", *self._folders]
        return [*serve, "--port", str(self.port), *self._preload]

    @property
    def database(self) -> Path:
        return self.folder / "metadata.db"

    def ingest_batch(self, folder: Path, empty: Path) -> float:
        """Its batch ingestion of a folder into a fresh store; pictures a second."""
        command = [sys.executable, "-m", "benchmarks.baseline", "ingest", str(folder)]
        done = subprocess.run(
            [*command, "--model", self._model, "--data", str(empty)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        words = done.stdout.split()  # Embedded N items in S s
        return int(words[1]) / float(words[4])
