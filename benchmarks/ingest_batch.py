"""`manage.py ingest_dataset FOLDER`, saying when it began: the interpreter's start is not counted.

MMSEARCH_DATA_DIR=… python -m benchmarks.ingest_batch FOLDER
"""

from __future__ import annotations

import os
import sys
import time

import django
from django.core.management import call_command


def main() -> None:
    """Print the system-wide monotonic clock in seconds, then ingest."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    django.setup()
    print(time.perf_counter(), flush=True)
    call_command("ingest_dataset", sys.argv[1])


if __name__ == "__main__":
    main()
