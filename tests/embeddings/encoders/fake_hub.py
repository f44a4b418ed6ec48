"""A model hub on this machine: one model, served as huggingface_hub asks for it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "team/tiny"


class Handler(BaseHTTPRequestHandler):
    """Answers for the files in `directory`; `asked` lists what was fetched."""

    directory: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        files = sorted(
            file.relative_to(self.directory).as_posix()
            for file in self.directory.rglob("*")
            if file.is_file()
        )
        if path == f"/api/models/{NAME}" or path.startswith(f"/api/models/{NAME}/revision/"):
            siblings = [{"rfilename": name} for name in files]
            self._json({"id": NAME, "sha": COMMIT, "siblings": siblings})
        elif path.startswith(f"/api/models/{NAME}/tree/"):
            self._json([self._entry(name) for name in files])
        elif path.startswith(f"/{NAME}/resolve/") and path.split("/", 5)[-1] in files:
            self._file(self.directory / path.split("/", 5)[-1], with_body=with_body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _entry(self, name: str) -> dict[str, object]:
        path = self.directory / name
        return {
            "type": "file",
            "path": name,
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest(),
        }

    def _json(self, value: object) -> None:
        self._bytes(json.dumps(value).encode(), "application/json")

    def _file(self, path: Path, *, with_body: bool) -> None:
        content = path.read_bytes()
        if with_body:
            self.asked.append(path.relative_to(self.directory).as_posix())
        self._bytes(content, "application/octet-stream", with_body=with_body)

    def _bytes(self, content: bytes, kind: str, *, with_body: bool = True) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@contextmanager
def fake_hub(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve `directory` as the model `team/tiny`; yields the address and the names fetched."""
    asked: list[str] = []
    handler = type("Handler", (Handler,), {"directory": directory, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
