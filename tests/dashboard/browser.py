"""Headless Chromium, driven by its own protocol (CDP) over one web socket: for tests and pictures.

Needs a Chromium on the machine, and no package beside those that are pinned anyway.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import connect

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PATIENCE = 30.0


def find_chromium() -> str | None:
    """The program; None where there is none."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class Browser:
    """One tab. Use as a context manager; `folder` takes its profile."""

    def __init__(self, program: str, folder: Path) -> None:
        self._folder = folder
        # No sandbox: containers seldom have what it needs, and only our own pages are opened.
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        quiet = ("--no-first-run", "--disable-background-networking", "--mute-audio")
        self._process = subprocess.Popen(
            [program, *flags, *quiet, "--remote-debugging-port=0", f"--user-data-dir={folder}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        self._socket = connect(self._address(), max_size=None)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def _address(self) -> str:
        written = self._folder / "DevToolsActivePort"
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if written.exists() and len(lines := written.read_text().splitlines()) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            time.sleep(0.05)
        raise TimeoutError("Chromium does not start")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=_PATIENCE)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A call of the tab."""
        return self._call(method, session=self._session, **parameters)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=_PATIENCE))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def look(
        self, *, width: int = 1280, height: int = 900, dark: bool = False, still: bool = True
    ) -> None:
        """The window's size, and what its user prefers."""
        phone = width < 500
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def scripts(self, *, allowed: bool) -> None:
        """Whether pages that are opened from now on may run scripts."""
        self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def open(self, url: str) -> None:
        """Go there and wait until it is loaded."""
        seen = len(self.events)
        self.call("Page.navigate", url=url)
        self.wait_for_event("Page.loadEventFired", seen)

    def wait_for_event(self, method: str, seen: int) -> None:
        """Until such an event comes, beside the first `seen` ones."""
        deadline = time.monotonic() + _PATIENCE
        while not any(event.get("method") == method for event in self.events[seen:]):
            if time.monotonic() > deadline:
                raise TimeoutError(method)
            self.events.append(json.loads(self._socket.recv(timeout=_PATIENCE)))

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, as if its user had clicked; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def wait_until(self, expression: str, seconds: float = _PATIENCE) -> None:
        """Until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(expression)
            time.sleep(0.05)

    def press(self, key: str, code: int, *, text: str = "") -> None:
        """One key."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, out: Path, *, whole: bool = True, height: int | None = None) -> Path:
        """A PNG of the page, from its top."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        view = self.call("Page.getLayoutMetrics")["cssLayoutViewport"]
        tall = min(size["height"], height) if height else size["height"]
        clip = {"x": 0, "y": 0, "width": view["clientWidth"], "height": tall, "scale": 1}
        found = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole, clip=clip
        )
        out.write_bytes(base64.b64decode(found["data"]))
        return out

    def complaints(self) -> list[str]:
        """What the browser said against the pages so far: errors of scripts, the policy, the network."""
        said = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                entry = parameters["entry"]
                if entry["level"] == "error":
                    said.append(f"{entry['text']} {entry.get('url', '')}")
            elif event.get("method") == "Runtime.exceptionThrown":
                said.append(parameters["exceptionDetails"]["text"])
        return said

    def requested(self) -> set[str]:
        """Every address that pages asked for."""
        sent = (e for e in self.events if e.get("method") == "Network.requestWillBeSent")
        return {event["params"]["request"]["url"] for event in sent}
