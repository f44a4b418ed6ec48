"""`python -m mmsearch_project [web] [worker]`: either, or both, under one supervisor."""

from __future__ import annotations

import sys

from mmsearch_project.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
