"""The claims about processes, with real processes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mmsearch_project import supervisor
from mmsearch_project.address import bind
from mmsearch_project.supervisor import Supervisor
from tests.processes import settings_of

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0
"""Seconds for what takes one or two on an idle machine."""
pytestmark = pytest.mark.timeout(400)


def wait_for(condition: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def environment(data_dir: Path, port: int, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        **settings_of(data_dir),
        "MMSEARCH_DEMO": "0",
        "PORT": str(port),
        **more,
    }


def run_to_its_end(data_dir: Path, port: int, **more: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a start that is meant to fail."""
    done = subprocess.run(
        [sys.executable, "-m", "mmsearch_project"],
        cwd=ROOT,
        env=environment(data_dir, port, **more),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


class Running:
    """A supervisor under test."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.log = data_dir / "log"
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "mmsearch_project"],
                cwd=ROOT,
                env=environment(data_dir, self.port),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        wait_for(lambda: "Ready: " in self.output or self.process.poll() is not None, "Ready")
        assert f"Ready: http://127.0.0.1:{self.port}/" in self.output, self.output

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as got:
                return bool(got.status == 200)
        except OSError:
            return False

    def child(self, module: str) -> psutil.Process | None:
        """The supervisor's child that runs `module`."""
        for process in self.process.children():
            if module in process.cmdline():
                return process
        return None

    def descendants(self) -> list[psutil.Process]:
        found: list[psutil.Process] = self.process.children(recursive=True)
        return found

    def cluster(self) -> list[psutil.Process]:
        """The processes below the worker's: its sentinel, then the pool."""
        worker = self.child("mmsearch_project.cluster")
        return worker.children(recursive=True) if worker else []


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )


def prepare(data_dir: Path) -> str:
    """What the preparation of a start prints."""
    return subprocess.run(
        [sys.executable, "-m", "mmsearch_project.preparation"],
        cwd=ROOT,
        env=environment(data_dir, 8000),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    ).stdout


@pytest.fixture(scope="module")
def first_preparation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder made ready, and what was printed meanwhile."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder, prepare(folder)


@pytest.fixture(scope="module")
def prepared(first_preparation: tuple[Path, str]) -> Path:
    """A data folder whose database is migrated: starts are quick."""
    return first_preparation[0]


@contextlib.contextmanager
def started(data_dir: Path) -> Iterator[Running]:
    supervisor = Running(data_dir)
    left: list[psutil.Process] = []
    try:
        supervisor.wait_until_ready()
        wait_for(lambda: len(supervisor.cluster()) >= 5, "the worker's pool")
        yield supervisor
        if supervisor.process.is_running():
            left = supervisor.descendants()
    finally:
        for process in [supervisor.process, *left]:
            if process.is_running():
                process.kill()
        supervisor.process.wait()


@pytest.fixture
def running(prepared: Path, tmp_path: Path) -> Iterator[Running]:
    """A supervisor for one test."""
    with started(Path(shutil.copytree(prepared, tmp_path / "data"))) as supervisor:
        yield supervisor


@pytest.fixture(scope="module")
def enduring(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A supervisor that tests share: each leaves it in full working order."""
    folder = tmp_path_factory.mktemp("enduring") / "data"
    with started(Path(shutil.copytree(prepared, folder))) as supervisor:
        yield supervisor


def test_port_in_use_is_one_line_that_names_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = run_to_its_end(tmp_path, port)
    assert (status, out) == (1, "")
    said = rf"mmsearch: Port {port} on 127.0.0.1 is in use. Choose another: PORT=\d+ make run\n"
    assert re.fullmatch(said, err)


def test_unwritable_data_dir_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "data"
    status, out, err = run_to_its_end(folder, free_port())
    assert (status, out) == (1, "")
    assert err == (
        f"mmsearch: MMSEARCH_DATA_DIR={folder} cannot be written (Not a directory)."
        " Choose another folder.\n"
    )


def test_wrong_setting_is_one_line(tmp_path: Path) -> None:
    assert run_to_its_end(tmp_path, free_port(), MMSEARCH_LOG_FORMAT="xml") == (
        1,
        "",
        "mmsearch: MMSEARCH_LOG_FORMAT='xml': choose one of text, json.\n",
    )


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    status, out, err = run_to_its_end(
        tmp_path,
        free_port(),
        DJANGO_SETTINGS_MODULE="mmsearch_project.settings",
        MMSEARCH_MODEL=str(tmp_path / "no-model"),
    )
    assert (status, out) == (1, "")
    assert re.fullmatch(rf"mmsearch: .*{re.escape(str(tmp_path / 'no-model'))}.*\n", err)


def test_broken_database_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "mmsearch.sqlite3"
    broken.write_bytes(b"not a database " * 1000)
    assert run_to_its_end(tmp_path, free_port(), MMSEARCH_DATABASE_URL=f"sqlite:///{broken}") == (
        1,
        "",
        f"mmsearch: The database {broken} cannot be used: file is not a database.\n",
    )


def test_first_login_is_told_once_and_kept_nowhere(
    first_preparation: tuple[Path, str],
) -> None:
    data_dir, told = first_preparation
    found = re.search(r"user admin, password (\S{16})\n", told)
    assert found is not None
    assert "password" not in prepare(data_dir)
    kept = b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())
    assert found[1].encode() not in kept


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_cleanly(running: Running, signum: signal.Signals) -> None:
    everything = running.descendants()
    running.process.send_signal(signum)
    assert running.process.wait(DEADLINE) == 0
    assert all_gone(everything)
    assert "Traceback" not in running.output


def test_nothing_outlives_a_killed_supervisor(running: Running) -> None:
    everything = running.descendants()
    running.process.kill()
    wait_for(lambda: all_gone(everything), "the children's end")


def test_a_data_dir_serves_one_supervisor(enduring: Running) -> None:
    status, out, err = run_to_its_end(enduring.data_dir, free_port())
    assert (status, out) == (1, "")
    assert err == (
        f"mmsearch: {enduring.data_dir} is in use by a running mmsearch"
        f" (process {enduring.process.pid}). Stop it, or choose another folder with"
        " MMSEARCH_DATA_DIR.\n"
    )


def test_searching_goes_before_embedding_and_all_have_one_share_of_the_machine(
    enduring: Running,
) -> None:
    web, cluster = enduring.child("mmsearch_project.web"), enduring.cluster()
    assert web is not None
    own = enduring.process.nice()
    assert web.nice() == own
    assert {process.nice() for process in cluster} == {min(19, own + 10)}
    session = os.getsid(enduring.process.pid)
    assert {os.getsid(process.pid) for process in [web, *cluster]} == {session}
    groups = {os.getpgid(process.pid) for process in [enduring.process, web, cluster[0]]}
    assert len(groups) == 3


def test_products_of_matrices_use_the_thread_that_asks_for_them(enduring: Running) -> None:
    program = (
        "import numpy, time; rows = numpy.ones((4096, 512), 'f4'); query = numpy.ones(512, 'f4');"
        "began, used = time.perf_counter(), time.process_time();"
        "[(rows @ query, time.sleep(0.01)) for _ in range(50)];"
        "print((time.process_time() - used) / (time.perf_counter() - began))"
    )
    web = enduring.child("mmsearch_project.web")
    assert web is not None
    for process in (web, enduring.cluster()[0]):
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=process.environ(), capture_output=True, text=True, check=True
        )
        assert float(done.stdout) < 0.15  # of a processor; who spins in the pauses takes one


def test_a_killed_web_server_is_started_again(enduring: Running) -> None:
    web = enduring.child("mmsearch_project.web")
    assert web is not None
    web.kill()
    wait_for(lambda: "The web server was killed by SIGKILL" in enduring.output, "the complaint")
    wait_for(lambda: enduring.child("mmsearch_project.web"), "the new server")
    wait_for(enduring.answers, "its answer")


def test_a_killed_worker_takes_its_cluster_along_and_starts_again(enduring: Running) -> None:
    worker, cluster = enduring.child("mmsearch_project.cluster"), enduring.cluster()
    assert worker is not None
    worker.kill()
    wait_for(lambda: all_gone(cluster), "the cluster's end")
    wait_for(lambda: "The worker was killed by SIGKILL" in enduring.output, "the complaint")
    wait_for(lambda: len(enduring.cluster()) >= 5, "the new cluster")


def test_a_killed_process_of_the_pool_means_a_fresh_cluster(enduring: Running) -> None:
    worker, cluster = enduring.child("mmsearch_project.cluster"), enduring.cluster()
    cluster[-1].kill()
    wait_for(lambda: all_gone(cluster), "the old cluster's end")
    wait_for(lambda: len(enduring.cluster()) >= 5, "the new cluster")
    assert enduring.child("mmsearch_project.cluster") == worker


def test_names_that_others_may_use_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_PAUSES", ())
    with bind("127.0.0.1", free_port()) as listener:
        names = ("pictures.lan", "localhost")
        under_test = Supervisor(
            host="0.0.0.0", port=1, data_dir=tmp_path, listener=listener, names=names
        )
        for child in (under_test.preparation, *under_test.web):
            child.command = ["true"]
        under_test.worker.command = ["sleep", "600"]
        under_test.run()
    assert (
        "It answers to: pictures.lan, localhost."
        " Other names are refused; add one: MMSEARCH_ALLOWED_HOSTS=its.name make run\n"
    ) in capfd.readouterr().out


def test_a_child_that_keeps_dying_ends_everything_with_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_PAUSES", (0.0, 0.1))
    port = free_port()
    with bind("127.0.0.1", port) as listener:
        under_test = Supervisor(host="127.0.0.1", port=port, data_dir=tmp_path, listener=listener)
        under_test.preparation.command = ["true"]
        under_test.web[0].command = ["sh", "-c", "exit 3"]
        under_test.worker.command = ["sleep", "600"]
        assert under_test.run() == 1
    assert not under_test.worker.runs()
    assert capfd.readouterr().err == (
        "mmsearch: The web server ended with exit status 3: starting it again in 0 s.\n"
        "mmsearch: The web server ended with exit status 3: starting it again in 0.1 s.\n"
        "mmsearch: The web server ended with exit status 3 again and again: giving up."
        " The lines above say why.\n"
    )
