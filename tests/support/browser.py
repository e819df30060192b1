"""Debian's Chromium without a window, driven by its own protocol over a WebSocket, which aiohttp speaks.

What goes wrong in a page is noted: errors in the console, exceptions of scripts, and requests to other hosts.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless=new", "--remote-debugging-port=0", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--disable-default-apps", "--hide-scrollbars", "--force-device-scale-factor=1"),
    *("--proxy-server=direct://", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@dataclass
class Tab:
    """A tab of the browser. `problems` are what went wrong in its pages, and `requests` the addresses it asked for."""

    socket: aiohttp.ClientWebSocketResponse
    session: str
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _loaded: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, method: str, **params: Any) -> Any:
        number = len(self._waiting) + 1
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        await self.socket.send_json(message | ({"sessionId": self.session} if self.session else {}))
        return await answer

    async def listen(self) -> None:
        async for message in self.socket:
            document = json.loads(message.data)
            if (answer := self._waiting.get(document.get("id", 0))) is not None:
                if "error" in document:
                    answer.set_exception(AssertionError(document["error"]["message"]))
                else:
                    answer.set_result(document["result"])
            else:
                self._note(document.get("method", ""), document.get("params", {}))

    def _note(self, method: str, params: Mapping[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
            self.problems.append(str(params["args"]))

    async def open(self, url: str) -> None:
        """Go to a page, until it and its pictures have loaded."""
        self._loaded.clear()
        await self.send("Page.navigate", url=url)
        await self._loaded.wait()

    async def click(self, selector: str) -> None:
        """Click on what leads to another page, until that has loaded."""
        self._loaded.clear()
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")
        await self._loaded.wait()

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, what it comes to."""
        answer = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true, looking at it with each frame that the browser draws."""
        wait = "new Promise((done) => { const look = () => (%s) ? done(true) : setTimeout(look, 5); look(); })"
        await self.run(wait % condition)

    async def resize(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)

    async def prefer(self, scheme: str) -> None:
        """Prefer `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self) -> bytes:
        """What the tab shows, as a PNG."""
        return base64.b64decode((await self.send("Page.captureScreenshot", format="png"))["data"])

    def foreign(self, origin: str) -> list[str]:
        """The addresses on other hosts that were asked for."""
        own = urlsplit(origin).netloc
        return [
            url for url in self.requests if urlsplit(url).scheme not in {"data", "blob"} and urlsplit(url).netloc != own
        ]


@asynccontextmanager
async def browser_tab() -> AsyncIterator[Tab]:
    """A new browser with one tab, for the length of the block."""
    assert CHROMIUM is not None
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        address = ""
        while not address:
            line = (await process.stderr.readline()).decode()
            assert line, "Chromium has ended"
            address = line.partition("DevTools listening on ")[2].strip()
        draining = asyncio.ensure_future(process.stderr.read())
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
            tab = Tab(socket, "")
            listening = asyncio.ensure_future(tab.listen())
            target = (await tab.send("Target.createTarget", url="about:blank"))["targetId"]
            tab.session = (await tab.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.send(f"{domain}.enable")
            yield tab
            with suppress(Exception):
                await asyncio.wait_for(socket.send_json({"id": 0, "method": "Browser.close"}), 1)
            listening.cancel()
        process.kill()
        await draining
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)
