"""A web server for a folder, which answers requests of ranges, and fails as it is told to."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

FAULTS = ('error', 'slow', 'short', 'cut', 'wrong', 'whole')
SLOW = 1.5  # s


class FaultyServer(ThreadingHTTPServer):
    """Attributes:
    url: of the folder.
    fault: asked before each answer: gets the path and the number of the request for these bytes, from 0, and returns
        one of `FAULTS`, or None.
    requests: number of requests by (path, range).
    """

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.folder = folder
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.fault: Callable[[str, int], str | None] = lambda path, number: None
        self.requests: dict[tuple[str, str], int] = {}


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer
    protocol_version = 'HTTP/1.1'

    def do_HEAD(self) -> None:
        file = self.server.folder / unquote(self.path.lstrip('/'))
        self.send_response(200 if file.is_file() else 404)
        if file.is_file():
            self.send_header('Content-Length', str(file.stat().st_size))
        self.end_headers()

    def do_GET(self) -> None:
        path, asked = unquote(self.path.lstrip('/')), self.headers.get('Range', '')
        number = self.server.requests.get((path, asked), 0)
        self.server.requests[path, asked] = number + 1
        fault = self.server.fault(path, number)
        file = self.server.folder / path
        if not file.is_file() or fault == 'error':
            return self._answer(503 if fault else 404, b'busy' if fault else b'')
        if fault == 'slow':
            time.sleep(SLOW)
        data, status = file.read_bytes(), 200
        if asked and fault != 'whole':
            first, last = map(int, re.fullmatch(r'bytes=(\d+)-(\d+)', asked).groups())
            data, status = data[first : last + 1], 206
        if fault == 'wrong':
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        if fault == 'short':
            data = data[: len(data) // 2]
        self._answer(status, data, cut=fault == 'cut')

    def _answer(self, status: int, data: bytes, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked may have lost patience
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[FaultyServer]:
    with FaultyServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
