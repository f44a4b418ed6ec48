"""A model hub on this machine: its models are served as huggingface_hub asks for them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = "team/tiny"


def commit_of(model: str) -> str:
    """The one revision of a model."""
    return hashlib.sha1(model.encode(), usedforsecurity=False).hexdigest()


COMMIT = commit_of(NAME)


class Handler(BaseHTTPRequestHandler):
    """Answers for the directories in `models`, by name; `asked` lists what was fetched."""

    models: Mapping[str, Path]
    asked: list[str]
    commit = ""
    """Of the model that is asked for."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        for name, directory in self.models.items():
            if f"{path}/".startswith((f"/api/models/{name}/", f"/{name}/resolve/")):
                self.commit = commit_of(name)
                self._answer_for(name, directory, path, with_body=with_body)
                return
        self._unknown()

    def _answer_for(self, model: str, directory: Path, path: str, *, with_body: bool) -> None:
        files = sorted(
            file.relative_to(directory).as_posix()
            for file in directory.rglob("*")
            if file.is_file()
        )
        if path == f"/api/models/{model}" or path.startswith(f"/api/models/{model}/revision/"):
            siblings = [{"rfilename": name} for name in files]
            self._json({"id": model, "sha": self.commit, "siblings": siblings})
        elif path.startswith(f"/api/models/{model}/tree/"):
            self._json([self._entry(directory, name) for name in files])
        elif path.startswith(f"/{model}/resolve/") and path.split("/", 5)[-1] in files:
            self._file(directory, path.split("/", 5)[-1], with_body=with_body)
        else:
            self._unknown()

    def _unknown(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _entry(self, directory: Path, name: str) -> dict[str, object]:
        path = directory / name
        return {
            "type": "file",
            "path": name,
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest(),
        }

    def _json(self, value: object) -> None:
        self._bytes(json.dumps(value).encode(), "application/json")

    def _file(self, directory: Path, name: str, *, with_body: bool) -> None:
        content = (directory / name).read_bytes()
        if with_body:
            self.asked.append(name)
        self._bytes(content, "application/octet-stream", with_body=with_body)

    def _bytes(self, content: bytes, kind: str, *, with_body: bool = True) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@contextmanager
def hub_of(models: Mapping[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serve directories by the names of models; yields the address and the files fetched."""
    asked: list[str] = []
    handler = type("Handler", (Handler,), {"models": models, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def fake_hub(directory: Path) -> AbstractContextManager[tuple[str, list[str]]]:
    """Serve `directory` as the model `team/tiny`."""
    return hub_of({NAME: directory})
