"""A server under test, started as its operator would: asked, loaded, watched, ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import psutil

from benchmarks.load import LoadResult, run_load
from benchmarks.material import ROOT
from benchmarks.processes import apart, family, free_port, kill
from mmsearch_project.processes import follow_parent

PATIENCE: Final = 600.0
"""Seconds to wait for a server to be ready or for items to be embedded."""
POLL: Final = 0.02
LOOK: Final = 0.5
"""Seconds between looks at `/stats/`, which is not free."""
EXACT_ROWS: Final = 16_384
"""Default of `MMSEARCH_INDEX_EXACT_ROWS`: vectors up to which an index stays exact."""
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
SQLITE: Final = "sqlite:///"
Answer = tuple[int, bytes]


class BenchmarkError(Exception):
    """The run cannot go on; the message says what went wrong."""


def database_rows(url: str, query: str, *values: int) -> list[tuple[Any, ...]]:
    """What a database holds, read past the application; `?` in the query stands where values do."""
    if url.startswith(SQLITE):
        file = sqlite3.connect(f"file:{url.removeprefix(SQLITE)}?mode=ro", uri=True, timeout=30)
        with contextlib.closing(file):
            return file.execute(query, values).fetchall()
    import psycopg

    with psycopg.connect(url) as connection:
        return connection.execute(query.replace("?", "%s").encode(), values or None).fetchall()


class Server:
    """A server in processes of its own. A context manager: the end of the block ends them."""

    name: str
    ready_path: str
    """Answers 200 once searches are answered."""
    command: Sequence[str]
    database_url: str
    embedded_since: str
    """Query for the number of items whose vectors were written above the key `?`."""
    last_embedded: str

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self.port = free_port()
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start, wait until searches are answered; returns the seconds that took."""
        started = time.perf_counter()
        parent = os.getpid()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: follow_parent(parent, signal.SIGTERM),  # noqa: PLW1509
            )
        return self.wait(self.is_ready, "a first answer") - started

    def stop(self) -> None:
        """Ask it to end; make it end after a while."""
        if self.process is None:
            return
        everyone = self.processes()
        self.process.terminate()
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        kill(everyone)
        self.process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def processes(self) -> list[psutil.Process]:
        """It and everything it started."""
        return [] if self.process is None else family(self.process.pid)

    def ask(
        self, method: str, path: str, body: bytes | None = None, content_type: str = JSON
    ) -> Answer:
        """Status and body of an answer. Raises OSError where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, {"Content-Type": content_type})
                response = connection.getresponse()
                return response.status, response.read()
            except http.client.HTTPException as exc:
                raise ConnectionError(f"{method} {path}: {exc!r}") from exc

    def expect(self, method: str, path: str, *body: Any) -> bytes:
        """Body of an answer. Raises OSError, and BenchmarkError on any status but 200 and 201."""
        status, content = self.ask(method, path, *body)
        if status not in {200, 201}:
            raise BenchmarkError(f"{method} {path} answered {status}: {content[:300]!r}")
        return content

    def get(self, path: str) -> Any:
        """The JSON under an address. Raises as `expect` does."""
        return json.loads(self.expect("GET", path))

    def post(self, path: str, value: dict[str, Any]) -> Any:
        """POST JSON, get JSON. Raises as `expect` does."""
        return json.loads(self.expect("POST", path, json.dumps(value).encode()))

    def load(self, path: str, asked: Sequence[str | Path], **how: Any) -> LoadResult:
        """What `run_load` gives, run apart. Raises OSError, BenchmarkError on bad answers."""
        result = apart(run_load, self.port, path, asked, **how)
        if result.errors or not result.durations:
            raise BenchmarkError(f"{self.name} refused {result.errors} requests.{self.tail()}")
        return result

    def rows(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        """What its database holds, as `database_rows` reads it."""
        return database_rows(self.database_url, query, *values)

    def mark(self) -> int:
        """The highest key embedded so far; hand it to :meth:`embedded`."""
        return int(self.rows(self.last_embedded)[0][0] or 0)

    def embedded(self, mark: int) -> int:
        """Items embedded after `mark`."""
        return int(self.rows(self.embedded_since, mark)[0][0])

    def wait_embedded(self, mark: int, count: int) -> float:
        """Wait until `count` items after `mark` are embedded; the time by `perf_counter`."""
        return self.wait(lambda: self.embedded(mark) >= count, f"{count} embedded items")

    def wait(
        self,
        condition: Callable[[], bool],
        what: str,
        *,
        patience: float = PATIENCE,
        poll: float = POLL,
    ) -> float:
        """Poll; the time by `perf_counter` when it held. Raises BenchmarkError after `patience`."""
        deadline = time.perf_counter() + patience
        while True:
            with contextlib.suppress(OSError):
                if condition():
                    return time.perf_counter()
            if self.process is None or self.process.poll() is not None:
                raise BenchmarkError(f"{self.name} ended by itself.{self.tail()}")
            if time.perf_counter() > deadline:
                raise BenchmarkError(
                    f"{self.name}: waited {patience:g} s in vain for {what}.{self.tail()}"
                )
            time.sleep(poll)

    def is_ready(self) -> bool:
        """Whether it answers searches. Raises OSError where nobody listens."""
        return self.ask("GET", self.ready_path)[0] == 200

    def tail(self) -> str:
        """The end of its log, for a message."""
        log = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return f"\nIts last lines:\n{log[-1500:]}"


class Ours(Server):
    """`make run`: supervisor, web server, worker, in one data folder."""

    name = "ours"
    ready_path = "/readyz"
    embedded_since = "SELECT count(DISTINCT item_id) FROM embeddings_embedding WHERE item_id > ?"
    last_embedded = "SELECT max(item_id) FROM embeddings_embedding"
    command = (sys.executable, "-m", "mmsearch_project")

    def __init__(self, folder: Path, *, model: str = "starter", **settings: str) -> None:
        kept = {name: v for name, v in os.environ.items() if not name.startswith("MMSEARCH_")}
        own = {
            "DJANGO_SETTINGS_MODULE": "mmsearch_project.settings",
            "MMSEARCH_DATA_DIR": str(folder),
            "MMSEARCH_MODEL": model,
            "MMSEARCH_DEMO": "0",
            "HOST": "127.0.0.1",
        }
        super().__init__(folder, kept | own | settings)
        self.environment["PORT"] = str(self.port)
        file = f"{SQLITE}{folder / 'mmsearch.sqlite3'}"
        self.database_url = self.environment.get("MMSEARCH_DATABASE_URL", file)

    def manage(self, *arguments: str) -> str:
        """Run a management command over the data folder; its output. Raises BenchmarkError."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(f"{' '.join(arguments)} failed:\n{done.stdout[-1500:]}")
        return done.stdout

    def bulk(self, records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outcomes of records sent as NDJSON. Raises OSError, BenchmarkError."""
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        content = self.expect("POST", "/api/v1/items/bulk/", lines, NDJSON)
        return [json.loads(line) for line in content.splitlines()]

    def found(self, words: str, top_n: int = 5) -> list[str]:
        """Item ids of a text search. Raises OSError, BenchmarkError."""
        answer = self.post("/search_text/", {"query_text": words, "top_n": top_n})
        return [result["item_id"] for result in answer["results"]]

    def index(self) -> tuple[str, int]:
        """Kind of the largest index, and how many vectors of all lie beside snapshots."""
        indexes = self.get("/stats/")["indexes"]
        largest = max(indexes, key=lambda each: int(each["vectors"]))
        return str(largest["kind"]), sum(each["delta"] for each in indexes)

    def log_length(self) -> int:
        """Lines of the change log."""
        return int(self.rows("SELECT count(*) FROM embeddings_vectorchange")[0][0])

    def wait_idle(self) -> float:
        """Wait until nothing is pending; the time by `perf_counter`."""
        return self.wait(lambda: not self.get("/stats/")["pending"], "an empty queue", poll=LOOK)

    def wait_indexed(self, *, delta: int) -> float:
        """Wait as a user would: nothing pending, no exact scan, at most so many in the delta."""

        def settled() -> bool:
            if self.get("/stats/")["pending"]:
                return False
            kind, beside = self.index()
            return kind != "exact" and beside <= delta

        return self.wait(settled, "an index that is not exact", poll=LOOK)

    def roles(self) -> dict[str, list[psutil.Process]]:
        """Its ``supervisor``, ``web`` and ``worker`` processes: whose child one is, says which."""
        roles: dict[str, list[psutil.Process]] = {"supervisor": [], "web": [], "worker": []}
        if self.process is None:
            return roles
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(self.process.pid)
            roles["supervisor"] = [supervisor]
            for child in supervisor.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    words = child.cmdline()
                    if "mmsearch_project.cluster" in words:
                        roles["worker"] += family(child.pid)
                    elif not {"mmsearch_project.preparation", "mmsearch_project.demo"} & set(words):
                        roles["web"] += family(child.pid)
        return roles
