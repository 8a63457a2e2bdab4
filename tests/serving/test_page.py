"""The page to try a model, in a real Chromium that is steered over its debugging protocol."""

import asyncio
import base64
import contextlib
import itertools
import os
import pathlib
import shutil
import subprocess

import aiohttp
import numpy as np
import pytest
from PIL import Image

from tests import scenes, trained

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1100,800",
    "--remote-debugging-port=0",
]  # fmt: skip
SECONDS = 60

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


class Tab:
    """A tab of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self._socket = socket
        self._numbers = itertools.count()

    async def call(self, method: str, **parameters):
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=SECONDS)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def value(self, script: str):
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait(self, script: str) -> None:
        for _ in range(SECONDS * 10):
            if await self.value(script):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never true: {script}; {await self.value('document.body.innerText')}")

    async def choose(self, path: pathlib.Path) -> None:
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.call("DOM.querySelector", nodeId=root, selector="#file"))["nodeId"]
        await self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    async def screenshot(self, path: pathlib.Path) -> np.ndarray:
        data = (await self.call("Page.captureScreenshot"))["data"]
        path.write_bytes(base64.b64decode(data))
        return np.asarray(Image.open(path).convert("RGB"))


@contextlib.asynccontextmanager
async def browser(folder: pathlib.Path, address: str):
    """Opens a page in a new browser."""
    process = subprocess.Popen(
        [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}", address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        port_file = folder / "DevToolsActivePort"
        for _ in range(SECONDS * 10):
            if port_file.exists() and port_file.read_text():
                break
            await asyncio.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            pages = await (await session.get(f"http://127.0.0.1:{port}/json")).json()
            (page,) = [one for one in pages if one["type"] == "page"]
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        process.terminate()
        process.wait(30)


def test_upload_overlay_opacity_legend_and_latency(server, tmp_path):
    if not hasattr(server, "process"):
        pytest.skip("the page belongs to the local server")
    asyncio.run(visit(f"{server.rest}/", tmp_path))


async def visit(address: str, folder: pathlib.Path) -> None:
    (picture,) = trained.pictures(1)
    Image.fromarray(picture).resize((320, 240)).save(folder / "street.png")
    (folder / "text.png").write_text("no picture")
    async with browser(folder / "profile", address) as tab:
        await tab.wait("document.querySelectorAll('#model option').length > 0")
        await tab.value("document.getElementById('model').value = 'segmenter';"
                        "document.getElementById('model').dispatchEvent(new Event('change'))")  # fmt: skip
        names = await tab.value("[...document.querySelectorAll('#legend li')].map((row) => row.textContent)")
        assert names == list(scenes.CLASSES)

        await tab.choose(folder / "street.png")
        await tab.wait("!document.getElementById('mask').hidden")
        assert "320 × 240 pixels" in await tab.value("document.getElementById('latency').textContent")
        assert " ms" in await tab.value("document.getElementById('latency').textContent")
        shares = await tab.value(
            "[...document.querySelectorAll('#legend .share')].map((share) => parseFloat(share.textContent))"
        )
        assert sum(shares) == pytest.approx(100, abs=0.3)
        await tab.screenshot(pathlib.Path(os.environ.get("PAGE_SCREENSHOT", folder / "page.png")))

        looks = []
        for opacity in (0, 100):
            await tab.value(f"document.getElementById('opacity').value = {opacity};"
                            "document.getElementById('opacity').dispatchEvent(new Event('input'))")  # fmt: skip
            looks.append(await tab.screenshot(folder / f"{opacity}.png"))
        box = await tab.value("(({x, y, width, height}) => [x, y, width, height])"
                              "(document.getElementById('mask').getBoundingClientRect())")  # fmt: skip
        inside = np.s_[int(box[1]) + 5 : int(box[1] + min(box[3], 500)) - 5, int(box[0]) + 5 : int(box[0] + box[2]) - 5]
        colors = {tuple(color) for color in np.unique(looks[1][inside].reshape(-1, 3), axis=0).tolist()}
        assert colors <= set(scenes.CLASSES.values())
        assert len(np.unique(looks[0][inside].reshape(-1, 3), axis=0)) > 100

        await tab.choose(folder / "text.png")
        await tab.wait("!document.getElementById('error').hidden")
        assert await tab.value("document.getElementById('error').textContent") == "text.png is no picture."
