"""A headless Chromium, by the W3C WebDriver protocol: `apt install chromium chromium-driver`."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from typing import Any, Self

from benchmarks.processes import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The protocol's name of a reference to an element."""
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"]


class Browser:
    """One window. A context manager: the end of the block closes it."""

    def __init__(self) -> None:
        port = free_port()
        self._address = f"http://127.0.0.1:{port}/session"
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        options = {"goog:chromeOptions": {"args": ARGUMENTS}}
        asked = {"capabilities": {"alwaysMatch": options}}
        while True:
            try:
                session = self._call("POST", "", asked)
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        self._address += f"/{session['sessionId']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._call("DELETE", "")
        self._driver.terminate()
        self._driver.wait()

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def write(self, selector: str, text: str) -> None:
        self._call("POST", f"/element/{self._find('css selector', selector)}/value", {"text": text})

    def press(self, words: str) -> None:
        """Click the button or link of these words."""
        path = (
            f"//button[contains(., '{words}')] | //input[@value='{words}'] | //summary[.='{words}']"
        )
        self._call("POST", f"/element/{self._find('xpath', path)}/click", {})

    def text(self, selector: str = "body") -> str:
        """What is to be read on the page."""
        script = "return document.querySelector(arguments[0]).innerText"
        said = self._call("POST", "/execute/sync", {"script": script, "args": [selector]})
        return " ".join(str(said).split())

    def _find(self, using: str, value: str) -> str:
        found = self._call("POST", "/element", {"using": using, "value": value})
        return str(found[ELEMENT])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self._address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(exc.read().decode()[:600]) from exc
        except urllib.error.URLError as exc:
            raise (exc.reason if isinstance(exc.reason, OSError) else exc) from None
