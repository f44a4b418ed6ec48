"""The web process: `python -m mmsearch_project.web FD` serves on an inherited listening socket."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

FILES: Final = 8192
"""Open files wished for: a connection may need three."""


def main(descriptor: int) -> None:
    """Serve until asked to stop."""
    from mmsearch_project.wsgi import application  # sets Django up

    _raise_file_limit()
    from django.conf import settings

    from catalog.resources import log_resources
    from mmsearch_project.http_server import Server
    from search.api.bodies import max_body_bytes
    from search.index.following import Following

    # Large bodies wait in the data folder: the system's folder for such is often memory.
    tempfile.tempdir = str(settings.MMSEARCH_DATA_DIR)
    server = Server(application, socket.socket(fileno=descriptor), body_limit=max_body_bytes)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: server.stop())
    log_resources("start of the web process")
    following = Following()
    following.begin()  # encoder and index load beside the first requests: the port answers at once
    server.run()
    following.end()


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wished:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main(int(sys.argv[1]))
