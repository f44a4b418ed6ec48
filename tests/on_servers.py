"""Run tests on a PostgreSQL and a Redis of their own: `python -m tests.on_servers tests/search`.

`make test-scale` runs all tests so. What is given goes to pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

from tests.servers import PostgreSQL, Redis

PROGRAMS: Final = ("redis-server", "pgbouncer")
"""What no package brings; Debian's packages are named so, too."""


def main() -> int:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        sys.exit(f"These tests need {' and '.join(missing)}: apt-get install {' '.join(missing)}")
    # Without autovacuum, or plans would depend on which tests went before.
    with PostgreSQL(autovacuum=False) as postgresql, Redis() as redis:
        servers = {
            "TESTS_DATABASE_URL": postgresql.url.rpartition("/")[0],
            "TESTS_BROKER_URL": redis.url.rpartition("/")[0],
        }
        command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
        return subprocess.run(command, env=os.environ | servers, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
