"""Debian's Firefox, driven over WebDriver BiDi: no geckodriver, no browser of our own to download.

Given as much of playwright's interface as tabs use here and in tests/interop: a context with
`new_page` and `add_init_script`, pages with `goto`, `evaluate`, `on` and `close`. The WebSocket
lives in a thread with an event loop of its own; every call blocks its caller.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from ..waiting import wait_for

FIREFOX = "/usr/bin/firefox-esr"
PREFERENCES = {
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.autoplay.default": 0,
    "media.gmp-manager.updateEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "dom.min_background_timeout_value": 4,
    "privacy.reduceTimerPrecision": False,
}


class Firefox:
    """One headless Firefox with a fresh profile."""

    def __init__(self, profile: Path) -> None:
        lines = [f'user_pref("{k}", {json.dumps(v)});' for k, v in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines))
        self._log = profile / "firefox.log"
        command = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile)]
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [*command, "--remote-debugging-port", "0", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        try:
            match = wait_for(
                lambda: re.search(r"BiDi listening on (ws://\S+)", self._log.read_text()),
                "Firefox listens",
                60,
            )
            self._run(self._connect(match[1] + "/session"))
            self.call("session.new", capabilities={})
        except BaseException:
            self.close()
            raise

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _connect(self, url: str) -> None:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(url, max_msg_size=0)
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            reply = json.loads(message.data)
            future = self._waiting.pop(reply.get("id"), None)
            if future is None:
                continue  # an event
            if reply["type"] == "success":
                future.set_result(reply["result"])
            else:
                future.set_exception(RuntimeError(f"{reply['error']}: {reply['message']}"))

    async def _call(self, method: str, params: dict[str, Any]) -> Any:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return await self._waiting[number]

    def call(self, method: str, **params: Any) -> Any:
        return self._run(self._call(method, params))

    def new_context(self) -> FirefoxContext:
        return FirefoxContext(self)

    async def _disconnect(self) -> None:
        if hasattr(self, "_socket"):
            self._reader.cancel()
            await self._socket.close()
            await self._http.close()

    def close(self) -> None:
        self._run(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        self._process.terminate()
        self._process.wait(20)


class FirefoxContext:
    """A user context (cookies of its own) and the pages in it."""

    def __init__(self, firefox: Firefox) -> None:
        self._firefox = firefox
        self._id = firefox.call("browser.createUserContext")["userContext"]

    def add_init_script(self, script: str) -> None:
        self._firefox.call(
            "script.addPreloadScript",
            functionDeclaration=f"() => {{ {script} }}",
            userContexts=[self._id],
        )

    def new_page(self) -> FirefoxPage:
        # A window each: Firefox slows the timers of a tab that is not in front.
        made = self._firefox.call("browsingContext.create", type="window", userContext=self._id)
        return FirefoxPage(self._firefox, made["context"])

    def close(self) -> None:
        self._firefox.call("browser.removeUserContext", userContext=self._id)


class FirefoxPage:
    """One window."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    def on(self, event: str, handler: Callable[..., None]) -> None:
        """Events are not passed on."""

    def goto(self, url: str) -> None:
        self._firefox.call(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    def evaluate(self, expression: str) -> Any:
        """The expression's value, by way of JSON."""
        result = self._firefox.call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression}) ?? null))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        if result["type"] != "success":
            raise RuntimeError(result["exceptionDetails"]["text"])
        return json.loads(result["result"]["value"])

    def close(self) -> None:
        self._firefox.call("browsingContext.close", context=self._context)
