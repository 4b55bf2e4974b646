"""A headless Chromium, driven by its DevTools protocol: needs nothing but the browser and `websockets`."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
RIGHT, LEFT = ('ArrowRight', 39), ('ArrowLeft', 37)
STARTS_WITHIN = 60.0  # s; on a busy machine


def browser() -> str | None:
    """The browser of this machine; None = there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


PICTURES = '[...document.images].filter((i) => i.getBoundingClientRect().width > 16)'
"""JavaScript: the pictures of the live page."""
_OF_PICTURE = """(async () => {{
  for (;;) {{
    const image = {pictures}[{index}];
    // Pictures that are replaced in this moment cannot be decoded.
    try {{ await image.decode(); return await ({then})(image) }} catch {{ await new Promise((r) => setTimeout(r, 50)) }}
  }}
}})()"""


def of_picture(index: int, then: str) -> str:
    """JavaScript: what a function makes of a picture once it is there."""
    return _OF_PICTURE.format(pictures=PICTURES, index=index, then=then)


class Tab:
    """One tab of the browser."""

    def __init__(self, address: str) -> None:
        from websockets.sync.client import connect

        self._socket = connect(address, max_size=None)
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and gives its result."""
        self._number += 1
        self._socket.send(json.dumps({'id': self._number, 'method': method, 'params': parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get('id') == self._number:
                assert 'error' not in message, f'{method}: {message["error"]}'
                return message['result']
            self.events.append(message)

    def open(self, url: str, width: int = 1600, height: int = 900) -> None:
        """Opens a page in a window of this size."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call('Page.enable')
        self.call('Runtime.enable')
        self.call('Page.navigate', url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in result, result['exceptionDetails']
        return result['result'].get('value')

    def wait_for(self, script: str, timeout: float = 30.0) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            # A page that is still loading may lack what the expression asks for.
            if value := self.run(f'document.body && ({script})'):
                return value
            time.sleep(0.1)
        raise AssertionError(f'not true within {timeout:g} s: {script}')

    def click(self, x: float, y: float) -> None:
        """A click of the left button, in CSS pixels."""
        for kind in ('mouseMoved', 'mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The left button goes down at `start` and up at `end`, in CSS pixels."""
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        for kind, (x, y) in (
            ('Moved', start),
            ('Pressed', start),
            ('Moved', middle),
            ('Moved', end),
            ('Released', end),
        ):
            self.call('Input.dispatchMouseEvent', type=f'mouse{kind}', x=x, y=y, button='left', buttons=1, clickCount=1)

    def press(self, key: str, code: int) -> None:
        """A key, such as ArrowRight (39)."""
        for kind in ('keyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def step_slider(self, label: str, key: tuple[str, int]) -> None:
        """Moves a slider by a key, as somebody without a mouse does."""
        self.run(
            "(() => { let row = [...document.querySelectorAll('label')].find((l) => l.textContent.trim() === '"
            + label
            + "'); while (!row.querySelector('[role=slider]')) row = row.parentElement;"
            "row.querySelector('[role=slider]').focus() })()"
        )
        self.press(*key)

    def screenshot(self, path: Path) -> None:
        """Writes a PNG."""
        path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot', format='png')['data']))

    def close(self) -> None:
        """Ends the connection; the tab stays."""
        self._socket.close()


class Chromium:
    """A running browser with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        command = browser()
        assert command is not None
        self._process = subprocess.Popen(
            [
                command,
                '--headless=new',
                '--no-sandbox',
                '--no-first-run',
                '--disable-dev-shm-usage',
                '--disable-background-networking',
                '--disable-component-update',
                # A page that a tab has left stays connected in this cache for up to two minutes.
                '--disable-features=BackForwardCache',
                '--use-gl=angle',
                '--use-angle=swiftshader',
                '--enable-unsafe-swiftshader',
                '--remote-debugging-port=0',
                f'--user-data-dir={folder}',
                'about:blank',
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._port = self._wait_for_port(folder / 'DevToolsActivePort')

    def _wait_for_port(self, file: Path) -> int:
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end:
            assert self._process.poll() is None, f'the browser ended with status {self._process.returncode}'
            with contextlib.suppress(OSError, ValueError, IndexError):
                return int(file.read_text().split()[0])
            time.sleep(0.1)
        raise AssertionError('the browser does not start')

    def new_tab(self) -> Tab:
        """Another tab, empty."""
        import urllib.request

        request = urllib.request.Request(f'http://127.0.0.1:{self._port}/json/new?about:blank', method='PUT')
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Tab(json.load(answer)['webSocketDebuggerUrl'])

    @property
    def process(self) -> int:
        """Its number; those of the tabs are its children."""
        return self._process.pid

    def close(self) -> None:
        """Ends the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """A browser that ends with the context. folder: for its profile."""
    running = Chromium(folder)
    try:
        yield running
    finally:
        running.close()
