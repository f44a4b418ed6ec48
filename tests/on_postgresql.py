"""Run tests over a PostgreSQL of their own: `python -m tests.on_postgresql tests/catalog/words`.

Needs `tests/servers/requirements.txt`, which nothing else does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from tests.servers import PostgreSQL


def main() -> int:
    with PostgreSQL() as server, tempfile.TemporaryDirectory() as data:
        environment = {
            **os.environ,
            # The settings of tests leave the environment of a child as it is.
            "MMSEARCH_TESTS_PID": str(os.getpid()),
            "MMSEARCH_DATA_DIR": data,
            "MMSEARCH_DATABASE_URL": server.url,
        }
        command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
