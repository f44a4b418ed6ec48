"""The application's settings over a temporary data folder; nobody's own data is touched."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.databases import servers_of


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # not a forked child
        shutil.rmtree(folder, ignore_errors=True)


# Whoever runs tests chooses, so that two workers of pytest-xdist share nothing. A child process
# of a test inherits this choice together with what its test set.
if "TESTS_PID" not in os.environ or "pytest" in sys.modules:
    for _name in [name for name in os.environ if name.startswith("MMSEARCH_")]:
        del os.environ[_name]
    for _name in ("HOST", "PORT", "WEB_CONCURRENCY"):
        os.environ.pop(_name, None)
    os.environ["TESTS_PID"] = str(os.getpid())
    os.environ["MMSEARCH_DATA_DIR"] = tempfile.mkdtemp(prefix="mmsearch-tests-")
    os.environ.update(servers_of(Path(os.environ["MMSEARCH_DATA_DIR"])))
    atexit.register(_remove, os.environ["MMSEARCH_DATA_DIR"], os.getpid())

# Hundreds of processes start: not each compiles the whole application anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Milvus's client would otherwise meddle with every child of a process that has it.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from mmsearch_project.settings import *  # noqa: E402, F403
from mmsearch_project.settings import DATABASES, MMSEARCH_DATA_DIR  # noqa: E402

# A file, as in real use, so that threads and processes meet on it. Processes are killed here,
# machines are not: nothing waits for the disk.
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["TEST"] = {"NAME": Path(MMSEARCH_DATA_DIR) / "test.sqlite3"}
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MMSEARCH_ENCODER = {"BACKEND": "tests.encoders.ColourEncoder", "OPTIONS": {}}
MMSEARCH_MODEL = os.environ.get("MMSEARCH_MODEL", "colour")
