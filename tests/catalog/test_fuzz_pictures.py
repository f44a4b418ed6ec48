"""The short form of `python -m tests.fuzz_pictures`, in a process whose memory is its own."""

from __future__ import annotations

import subprocess
import sys

from django.conf import settings


def test_damaged_and_hostile_pictures_are_taken_or_refused_and_leave_no_memory_behind() -> None:
    command = [sys.executable, "-m", "tests.fuzz_pictures", "--count", "150"]
    done = subprocess.run(
        command, check=False, cwd=settings.BASE_DIR, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("150 pictures: ")
