"""A catalogue moved from the starter to another small CLIP, and back, by the admin page alone.

`python -m tests.admin_in_browser` drives a real browser over a real installation of 2,000 items:
logs in, opens the model, watches the bar, waits until it answers, rolls back and retires it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.servers import Ours
from tests.browser import Browser
from tests.switching import fill, vary_starter

PATIENCE = 3600.0
"""Seconds: preparing a model takes minutes on a quiet machine."""
PASSWORD = "by-the-page-alone"


def say(words: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {words}\n")
    sys.stdout.flush()


def wait_for(browser: Browser, pattern: str, ours: Ours) -> str:
    """Wait until the page shows `pattern`, without loading it anew: its own script does."""
    seen = ""

    def shows() -> bool:
        nonlocal seen
        seen = browser.text("#spaces")
        return re.search(pattern, seen) is not None

    ours.wait(shows, f"{pattern!r} on the page", patience=PATIENCE, poll=0.5)
    return seen


def move(ours: Ours, browser: Browser, model: str, items: int) -> None:
    """What an administrator does."""
    name = Path(model).name
    browser.open(f"http://127.0.0.1:{ours.port}/admin/embeddings/embeddingspace/")
    browser.write("#id_username", "operator")
    browser.write("#id_password", PASSWORD)
    browser.press("Log in")
    say(browser.text("#spaces"))
    browser.write("#model", model)
    browser.press("Open")
    say(wait_for(browser, rf"{name} 256 dimensions, \S+ building", ours))
    say(wait_for(browser, rf"{name} 256 dimensions, \S+ active {items:,} of {items:,}", ours))
    browser.press("Roll back")
    say(wait_for(browser, rf"starter 256 dimensions, \S+ active {items:,} of {items:,}", ours))
    browser.press("Retire")
    browser.press("Delete its vectors for good")
    say(wait_for(browser, "is retired", ours))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    items = parser.parse_args().items
    with tempfile.TemporaryDirectory() as folder:
        model = str(vary_starter(Path(folder) / "variation"))
        with Ours(Path(folder) / "data") as ours, Browser() as browser:
            ours.start()
            fill(ours, items)
            login = (
                "from django.contrib.auth.models import User;"
                f"User.objects.create_superuser('operator', password='{PASSWORD}')"
            )
            ours.manage("shell", "-v0", "-c", login)
            move(ours, browser, model, items)
            say(ours.manage("check_index"))


if __name__ == "__main__":
    main()
