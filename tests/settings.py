"""The product's settings on a temporary data directory, with a small encoder.

A process that a test starts inherits the directory, and so works on the same files.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("MMSEARCH_DATA_DIR", tempfile.mkdtemp(prefix="mmsearch-tests-"))
os.environ.setdefault("MMSEARCH_DEMO", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from mmsearch_project.settings import *  # noqa: E402, F403
from mmsearch_project.settings import DATABASES, MMSEARCH_DATA_DIR  # noqa: E402

DATABASES["default"]["TEST"] = {"NAME": str(Path(MMSEARCH_DATA_DIR) / "test.sqlite3")}
MMSEARCH_ENCODERS = {"default": {"BACKEND": "tests.encoders.ColourEncoder", "OPTIONS": {}}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
