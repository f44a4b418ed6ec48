"""What make installs, over real environments with requirements that cost nothing to install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmsearch_project.installation import FILES, PIP_SOURCES, wanted, with_uv

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "mmsearch_project/installation.py"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A checkout whose environment was cut short: its Python has no pip yet."""
    checkout = tmp_path
    for name in (SCRIPT, "embeddings/encoders/finding/naming.py"):
        (checkout / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, checkout / name)
    for name in {"constraints.txt", *(name for names in FILES.values() for name in names)}:
        (checkout / name).write_text("", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    return checkout


def install(
    checkout: Path, chosen: str, *python: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(python or (SCRIPT,)), chosen],
        cwd=checkout,
        env={**os.environ, "PIP_NO_INDEX": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def stamps(checkout: Path) -> list[str]:
    return sorted(path.name for path in (checkout / ".venv").glob("installed-*"))


def test_an_environment_cut_short_is_made_anew_and_a_failed_installation_goes_on(
    environment: Path,
) -> None:
    (environment / "requirements-serve.txt").write_text("nowhere-to-be-found==1\n")

    failed = install(environment, "serve")

    assert failed.returncode == 1
    assert failed.stdout.startswith("Installing what serving needs: about 140 MB to download")
    assert "No matching distribution found for nowhere-to-be-found==1" in failed.stderr
    assert failed.stderr.splitlines()[-1] == (
        "mmsearch: the installation failed; the lines above say why. The next try goes on from"
        " here."
    )
    assert stamps(environment) == []

    (environment / "requirements-serve.txt").write_text("")
    mended, again = install(environment, "serve"), install(environment, "serve")

    assert (mended.returncode, stamps(environment)) == (0, ["installed-serve"]), mended.stderr
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_model_that_cannot_be_is_refused_before_anything_is_installed(environment: Path) -> None:
    data = environment / "data"
    data.mkdir()
    empty, gone = str(data), str(environment / "gone")
    for model, problem in (
        (gone, f"There is no directory {gone}. A model is `starter`, a hub name like "),
        (empty, f"{empty} is no model directory: it has no config.json."),
        ("stater", "'stater' names no model. A model is `starter`, a hub name like "),
    ):
        done = install(environment, "run", MMSEARCH_DATA_DIR=str(data), MMSEARCH_MODEL=model)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"mmsearch: MMSEARCH_MODEL={model}: {problem}")
        assert len(done.stderr.splitlines()) == 1

    (data / "model").write_text(f"{gone}\n")
    again = install(environment, "run", MMSEARCH_DATA_DIR=str(data), MMSEARCH_MODEL=gone)
    assert (again.returncode, stamps(environment)) == (0, ["installed-all", "installed-serve"])


def test_uv_installs_unless_pip_was_told_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "uv").write_text('#!/bin/sh\necho "$1 $2, then $6"; exit $UV_STATUS\n')
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    files = ("--requirement", "requirements-serve.txt")
    for name in PIP_SOURCES:
        monkeypatch.delenv(name, raising=False)

    for status, installed in (("0", True), ("2", False)):
        monkeypatch.setenv("UV_STATUS", status)
        assert with_uv(files) is installed
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example.org/simple")
    assert with_uv(files) is False

    assert capfd.readouterr().out.splitlines() == [
        "pip install, then requirements-serve.txt",
        "pip install, then requirements-serve.txt",
        "uv could not install this: pip tries.",
    ]


def test_a_python_without_ensurepip_names_the_package(tmp_path: Path) -> None:
    hide = f"import runpy, sys; sys.modules['ensurepip'] = None; runpy.run_path({SCRIPT!r}, "
    (tmp_path / "mmsearch_project").mkdir()
    shutil.copy(ROOT / SCRIPT, tmp_path / SCRIPT)
    for name in ("constraints.txt", "requirements-serve.txt"):
        (tmp_path / name).write_text("", encoding="utf-8")

    done = install(tmp_path, "serve", "-c", hide + "run_name='__main__')")

    assert done.returncode == 1
    assert done.stderr.endswith("On Debian and Ubuntu: sudo apt install python3-venv\n")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("environ", "remembered", "expected"),
    [
        ({}, "", "serve"),
        ({}, "starter\n", "serve"),
        ({}, "openai/clip-vit-base-patch32\n", "all"),
        ({"MMSEARCH_MODEL": " starter "}, "openai/clip-vit-base-patch32\n", "serve"),
        ({"MMSEARCH_MODEL": "models/my $(touch x)"}, "starter\n", "all"),
        ({"MMSEARCH_DEVICE": "cuda"}, "", "all"),
    ],
)
def test_the_starter_alone_needs_no_more_than_serving(
    tmp_path: Path, environ: dict[str, str], remembered: str, expected: str
) -> None:
    if remembered:
        (tmp_path / "model").write_text(remembered)
    assert wanted({"MMSEARCH_DATA_DIR": str(tmp_path), **environ}) == expected


def test_a_failed_lint_fails_make_test_where_make_knows_no_shell_flags(tmp_path: Path) -> None:
    called = tmp_path / "called"
    for name in ("ruff", "lint-imports", "mypy", "python", "pytest"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >> {called}\n[ {name} != ruff ]\n")
        (tmp_path / name).chmod(0o755)

    done = subprocess.run(
        ["make", ".SHELLFLAGS=-c", f"BIN={tmp_path}", "INSTALL=true", "test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert called.read_text() == "ruff\n"
