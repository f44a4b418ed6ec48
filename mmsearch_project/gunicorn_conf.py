"""The web server: gunicorn with threads. The supervisor names it with `--config`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mmsearch_project import settings

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker

wsgi_app = "mmsearch_project.wsgi:application"
# Encoder and index release the GIL, and one process holds them once; WEB_CONCURRENCY adds more.
worker_class = "gthread"
workers = settings.WEB_CONCURRENCY
threads = 48
keepalive = 75  # seconds; longer than the usual proxy's
timeout = 120  # seconds without a heartbeat: hung, not busy
graceful_timeout = 20  # seconds; below the supervisor's own patience
max_requests = 0
# The heartbeat file belongs in memory: a busy disk must not look like a hang.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
control_socket_disable = True
proc_name = "mmsearch-web"
chdir = str(Path(__file__).resolve().parent.parent)
accesslog = None  # the request log of mmsearch_project.middleware says it
logconfig_dict = settings.LOGGING

if workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    # The processes' counts meet in files there, or /metrics would tell those of one of them.
    counts = settings.MMSEARCH_DATA_DIR / "metrics"
    shutil.rmtree(counts, ignore_errors=True)
    counts.mkdir()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counts)


def post_worker_init(worker: Worker) -> None:  # noqa: ARG001  gunicorn's signature
    """Load encoder and index beside the first requests: the port answers at once."""
    from catalog.resources import log_resources
    from search.index.following import start_following

    log_resources("start of the web process")
    start_following()
