"""A server of files on this machine that fails as asked."""

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator

import pytest


class FileServer:
    """Answers GET from `files`, and keeps what it was asked for.

    Attributes:
        address: of its root.
        files: content by path, or the path that a request is sent on to.
        asked: (path, header Range) of each request.
        resumes: whether it answers Range, and sends an ETag.
        cut_after: for each of the next answers with a body, the number of its bytes after which the connection is
            closed; None for all of them.
        statuses: for the next answers, the status instead of 200.
        declared: the Content-Length instead of the true one; "" for none.
        pause_s: the wait before the second half of a body.
    """

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}/"
        self.files: dict[str, bytes | str] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.resumes = True
        self.tag = '"1"'
        self.cut_after: list[int | None] = []
        self.statuses: list[int] = []
        self.declared: str | None = None
        self.pause_s = 0.0


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        served: FileServer = self.server.files
        path, _, _ = self.path.lstrip("/").partition("?")
        served.asked.append((self.path.lstrip("/"), self.headers["Range"]))
        content = served.files.get(path)
        if served.statuses:
            return self.send_error(served.statuses.pop(0))
        if content is None:
            return self.send_error(404)
        if isinstance(content, str):
            self.send_response(302)
            self.send_header("Location", content)
            return self.end_headers()
        start = 0
        if self.headers["Range"] and served.resumes and self.headers["If-Range"] == served.tag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if served.resumes:
            self.send_header("ETag", served.tag)
        body = content[start:]
        if served.declared != "":
            self.send_header("Content-Length", served.declared or str(len(body)))
        self.end_headers()
        body = body[: served.cut_after.pop(0)] if served.cut_after else body
        half = len(body) // 2 if served.pause_s else 0
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[:half])
            time.sleep(served.pause_s)
            self.wfile.write(body[half:])
        return None

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serving() -> Iterator[FileServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.files = FileServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        # Proxies of the machine do not lead to it.
        with pytest.MonkeyPatch.context() as patch:
            for name in ("no_proxy", "NO_PROXY"):
                patch.setenv(name, "127.0.0.1")
            yield server.files
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
