"""A headless Chromium, spoken to by the Chrome DevTools Protocol over its WebSocket: pages that a test looks at and types into.

No library of its own is needed: the protocol is JSON, and aiohttp, which the server has anyway, speaks WebSocket.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests import needs

START_SECONDS: Final = 30.0
WAIT_SECONDS: Final = 20.0
_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--force-color-profile=srgb",
    "--enable-precise-memory-info",
)
KEYS: Final = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "ArrowDown": (40, ""),
    "ArrowUp": (38, ""),
    "Tab": (9, ""),
    "End": (35, ""),
}


class Tab:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []
        """Errors of scripts, refused by the policy, or written to the console."""
        self.requests: dict[str, dict[str, Any]] = {}
        """By id, what was asked for over the network: url, and bytes once it is there."""

    async def listen(self) -> None:
        """Takes what the browser says, until it closes."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                answered = self._answers.pop(said["id"])
                if not answered.done():
                    answered.set_result(said)
            else:
                self._take(said["method"], said["params"])
        for each in self._answers.values():
            each.cancel()

    def _take(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error" and params["entry"]["source"] != "network":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.complaints.append(str([each.get("value", each.get("description")) for each in params["args"]]))
            case "Network.requestWillBeSent":
                self.requests[params["requestId"]] = {"url": params["request"]["url"], "bytes": 0}
            case "Network.loadingFinished" if params["requestId"] in self.requests:
                self.requests[params["requestId"]]["bytes"] = params["encodedDataLength"]

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Returns the browser's answer to a command of the protocol."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(WAIT_SECONDS * 3):
            said = await self._answers[number]
        assert "error" not in said, f"{method}: {said['error']}"
        return dict(said["result"])

    async def value(self, script: str) -> Any:
        """Returns the value of an expression in the page, waited for where it is a promise."""
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"].get("exception", {}).get("description")
        return found["result"].get("value")

    async def until(self, script: str, seconds: float = WAIT_SECONDS) -> Any:
        """Returns the value of an expression once it is true."""
        ends = time.monotonic() + seconds
        while not (found := await self.value(script)) and time.monotonic() < ends:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.02)
        assert found, f"not so within {seconds} s: {script}\n{await self.value('document.body.innerText.slice(0, 1500)')}"
        return found

    async def open(self, url: str) -> None:
        """Goes to an address, and waits until its document is there."""
        await self.call("Page.navigate", url=url)
        begin = json.dumps(url.partition("?")[0].partition("#")[0])
        await self.until(f"document.readyState === 'complete' && location.href.startsWith({begin})")

    async def press(self, key: str) -> None:
        """Presses a key, as a person does."""
        code, text = KEYS.get(key, (ord(key.upper()) if len(key) == 1 else 0, key if len(key) == 1 else ""))
        named: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code, "text": text}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **named)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def write(self, text: str) -> None:
        """Types a text into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def look(self, *, width: int = 1440, height: int = 900, scheme: str = "light", reduced: bool = False) -> None:
        """Sets the size of the window, and what the reader prefers."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced else "no-preference"},
        ]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def picture(self, path: Path) -> None:
        """Writes what is to be seen into a PNG file."""
        found = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(found["data"]))


class Browser:
    """A running Chromium."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address

    @contextlib.asynccontextmanager
    async def tab(self, url: str = "about:blank") -> AsyncIterator[Tab]:
        """Gives a new page, and closes it."""
        async with self._session.put(f"{self._address}/json/new?about:blank") as answer:
            target = await answer.json(content_type=None)
        async with (
            self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=_MESSAGE_BYTES) as socket,
            asyncio.TaskGroup() as tasks,
        ):
            tab = Tab(socket)
            listening = tasks.create_task(tab.listen())
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.call(f"{domain}.enable")
            await tab.look()
            if url != "about:blank":
                await tab.open(url)
            try:
                yield tab
            finally:
                async with self._session.get(f"{self._address}/json/close/{target['id']}"):
                    pass
                listening.cancel()


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser with a profile of its own, ended by its process id."""
    path = needs.find("chromium")
    assert path is not None
    folder = Path(tempfile.mkdtemp(prefix="k3-chromium-"))
    process = await asyncio.create_subprocess_exec(
        path,
        *_FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield Browser(session, await _address(folder / "DevToolsActivePort"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its helpers, which end a little later and write until then
        await asyncio.to_thread(_remove, folder)


def _remove(folder: Path) -> None:
    """Removes a profile; what still ends may write into it meanwhile."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


async def _address(file: Path) -> str:
    """Returns where the browser is spoken to: it writes its port into a file."""
    async with asyncio.timeout(START_SECONDS):
        while not (lines := await asyncio.to_thread(_lines, file)):  # noqa: ASYNC110 - the browser is another process
            await asyncio.sleep(0.05)
    return f"http://127.0.0.1:{lines[0]}"


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
