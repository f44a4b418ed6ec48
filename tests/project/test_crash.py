"""`make crash` in small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.material import ROOT


@pytest.mark.timeout(400)
def test_kill_9_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    command = ["-m", "benchmarks", "--output", str(tmp_path), "crash", "--kills", "3"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / "performance" / "crash.txt").read_text().splitlines()
    kills = [line.split()[1] for line in log if "working again" in line]
    assert kills == ["web", "worker", "everything"]
    assert {line.partition(":")[0] for line in log[5:]} == {"holds"}
