"""Headless Chromium by its own debugging protocol: no driver, nothing downloaded."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The path of a Chromium or Chrome, None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page. `events`: (method, parameters) that it has sent so far."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._calls = 0
        self.events: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol. AssertionError with what it says if it fails."""
        self._calls += 1
        request = {"id": self._calls, "method": method, "params": parameters}
        self._channel.send(json.dumps(request))
        while True:
            message = json.loads(self._channel.recv(timeout=30))
            if message.get("id") == self._calls:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self.events.append((message["method"], message["params"]))

    def js(self, expression: str) -> Any:
        """The value of an expression. AssertionError if it throws."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path | str) -> float:
        """Load a file or a URL and forget what was before; seconds until it is laid out."""
        self.call("Page.navigate", url="about:blank")
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        begun = time.monotonic()
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self.call("Page.navigate", url=url)
        while self.js("document.readyState") != "complete":
            time.sleep(0.02)
        self.js("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        return time.monotonic() - begun

    def until(self, expression: str, seconds: float = 90) -> Any:
        """Wait until an expression is true; its value (an element has none that can be told).

        AssertionError if it does not come true.
        """
        deadline = time.monotonic() + seconds
        while not (value := self.js(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)
        return value

    def settle(self, seconds: float) -> None:
        """Wait until nothing has been loaded for so long."""
        count, since = -1, time.monotonic()
        while time.monotonic() - since < seconds:
            loaded = self.js("performance.getEntriesByType('resource').length")
            if loaded != count:
                count, since = loaded, time.monotonic()
            time.sleep(0.1)

    def click(self, element: str) -> None:
        """Press the mouse in the middle of an element, once it rests and nothing lies above it.

        Args:
            element: a JavaScript expression.
        """
        place = f"""(() => {{
            const found = {element};
            if (!found) return null;
            found.scrollIntoView({{block: "nearest"}});
            const box = found.getBoundingClientRect();
            const at = [box.x + box.width / 2, box.y + box.height / 2];
            return found.contains(document.elementFromPoint(...at)) ? at : null;
        }})()"""
        before, at = None, self.until(place)
        while at != before:
            time.sleep(0.1)
            before, at = at, self.until(place)
        common = {"x": at[0], "y": at[1], "clickCount": 1, "button": "left"}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
        self.call("Input.dispatchMouseEvent", type="mousePressed", **common)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **common)

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press a key for real. `code`: of Windows' virtual keys."""
        common = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Of the window, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def prefer(self, scheme: str) -> None:
        """`light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        """What the window shows, as PNG."""
        answer = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and breaches of the page's policy."""
        found = []
        for method, parameters in self.events:
            if method == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            if method == "Runtime.consoleAPICalled" and parameters["type"] != "log":
                found.append(str(parameters["args"]))
            if method == "Log.entryAdded" and parameters["entry"]["level"] != "info":
                found.append(parameters["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """URLs that it asked for, data URLs left out."""
        urls = [p["request"]["url"] for m, p in self.events if m == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]


@contextmanager
def browser(path: str) -> Iterator[Tab]:
    """A tab of a browser of our own, with a profile that is gone afterwards."""
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        argv = [path, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        argv += ["--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars"]
        argv += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port, target = _port(Path(profile) / "DevToolsActivePort", process)
            with connect(f"ws://127.0.0.1:{port}{target}", max_size=None, proxy=None) as channel:
                yield _first_tab(channel, port)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _port(file: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and len(lines := file.read_text().splitlines()) == 2:
            return lines[0], lines[1]
        time.sleep(0.05)
    raise AssertionError(f"the browser did not start (exit code {process.poll()})")


class _Session:
    """The channel of one tab within the browser's own."""

    def __init__(self, channel: Any, session: str) -> None:
        self._channel, self._session = channel, session

    def send(self, text: str) -> None:
        self._channel.send(json.dumps(json.loads(text) | {"sessionId": self._session}))

    def recv(self, timeout: float) -> str:
        while True:
            text: str = self._channel.recv(timeout=timeout)
            if json.loads(text).get("sessionId") == self._session:
                return text


def _first_tab(channel: Any, port: str) -> Tab:
    browser_ = Tab(channel)
    targets = browser_.call("Target.getTargets")["targetInfos"]
    page = next(target["targetId"] for target in targets if target["type"] == "page")
    session = browser_.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
    return Tab(_Session(channel, session))
