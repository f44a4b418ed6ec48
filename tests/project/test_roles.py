"""Web server and worker as processes of their own over one data folder, as containers run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import kill_tree
from tests.project.test_supervisor import (
    DEADLINE,
    ROOT,
    Running,
    all_gone,
    environment,
    free_port,
    wait_for,
)

pytestmark = pytest.mark.timeout(400)


class RunningRole(Running):
    """One role under test."""

    def __init__(self, data_dir: Path, role: str, port: int) -> None:
        self.data_dir, self.port, self.role = data_dir, port, role
        self.log = data_dir / f"log-{role}"
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "mmsearch_project", role],
                cwd=ROOT,
                env=environment(data_dir, port),
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def run(module: str, *arguments: str, data_dir: Path, port: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment(data_dir, port),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode, done.stderr


def lives(role: str, data_dir: Path, port: int) -> bool:
    return run("mmsearch_project.health", role, data_dir=data_dir, port=port)[0] == 0


def test_web_and_worker_start_at_once_over_an_empty_folder_and_end_alone(tmp_path: Path) -> None:
    port = free_port()
    web, worker = (RunningRole(tmp_path, role, port) for role in ("web", "worker"))
    both = [web.process, worker.process]
    try:
        web.wait_until_ready()
        wait_for(lambda: lives("worker", tmp_path, port), "the worker's heartbeat")
        assert lives("web", tmp_path, port)
        assert (web.output + worker.output).count("Preparing the database") == 1
        assert (web.output + worker.output).count("Administration: /admin/, user admin") == 1
        assert web.child("mmsearch_project.cluster") is None
        assert worker.child("mmsearch_project.web") is None
        for role, process in (("web", web.process), ("worker", worker.process)):
            status, error = run("mmsearch_project", role, data_dir=tmp_path, port=free_port())
            assert status == 1
            assert f"is in use by a running mmsearch (process {process.pid})." in error
        below = worker.descendants()
        worker.process.terminate()
        assert worker.process.wait(DEADLINE) == 0
        wait_for(lambda: all_gone(below), "the end of the worker")
        assert not lives("worker", tmp_path, port)
        assert web.answers()
        web.process.terminate()
        assert web.process.wait(DEADLINE) == 0
        assert not lives("web", tmp_path, port)
    finally:
        for process in both:
            if process.is_running():
                kill_tree(process.pid)


def test_an_unknown_role_is_one_line(tmp_path: Path) -> None:
    assert run("mmsearch_project", "wep", data_dir=tmp_path, port=free_port()) == (
        1,
        "mmsearch: 'wep' is neither web nor worker.\n",
    )
