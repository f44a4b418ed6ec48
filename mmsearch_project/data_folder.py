"""Who runs over a data folder: one web server and one worker at most."""

from __future__ import annotations

import enum
import fcntl
import os
from pathlib import Path
from typing import IO


class Role(enum.StrEnum):
    """What a supervisor starts."""

    WEB = "web"
    WORKER = "worker"


class StartError(Exception):
    """The application cannot start; the message names the mend."""


def hold_data_dir(data_dir: Path, role: Role) -> IO[str]:
    """Lock the data folder against a second one of the role until this process ends."""
    stream = (data_dir / f"{role}.lock").open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        stream.seek(0)
        raise StartError(
            f"{data_dir} is in use by a running mmsearch (process {stream.read().strip()})."
            " Stop it, or choose another folder with MMSEARCH_DATA_DIR."
        ) from exc
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream
