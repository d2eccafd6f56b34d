"""As much of an S3 as archives ask of one: whole objects, and ranges of them. It looks at no signature."""

from __future__ import annotations

import contextlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_XML = '<?xml version="1.0" encoding="UTF-8"?>'


class ObjectStore(ThreadingHTTPServer):
    """Objects by their path; `away` answers nobody, `multiparts` counts uploads in parts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[int, bytes] = {}
        self.multiparts = 0
        self.away = False

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ObjectStore
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self._get(body=False)

    def do_GET(self) -> None:
        self._get(body=True)

    def do_PUT(self) -> None:
        content, asked = self._content(), parse_qs(urlsplit(self.path).query)
        if self.server.away:
            return self._answer(403)
        if "partNumber" in asked:
            self.server.parts[int(asked["partNumber"][0])] = content
        else:
            self.server.objects[urlsplit(self.path).path] = content
        return self._answer(200, headers={"ETag": '"etag"'})

    def do_POST(self) -> None:
        self._content()
        if self.server.away:
            return self._answer(403)
        if "uploadId" not in parse_qs(urlsplit(self.path).query):
            self.server.parts.clear()
            self.server.multiparts += 1
            result = (
                f"{_XML}<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            )
            return self._answer(200, result.encode())
        parts = self.server.parts
        self.server.objects[urlsplit(self.path).path] = b"".join(parts[number] for number in sorted(parts))
        done = f"{_XML}<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
        return self._answer(200, done.encode())

    def _get(self, *, body: bool) -> None:
        content = self.server.objects.get(urlsplit(self.path).path)
        if content is None or self.server.away:
            return self._answer(403 if self.server.away else 404)
        headers = {
            "ETag": '"etag"',
            "Last-Modified": "Fri, 01 May 2026 12:00:00 GMT",
            "Accept-Ranges": "bytes",
        }
        if not body:
            headers["Content-Length"] = str(len(content))
            return self._answer(200, headers=headers)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if found is None:
            return self._answer(200, content, headers)
        first, last = int(found[1]), min(int(found[2]), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return self._answer(206, content[first : last + 1], headers)

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        given = {"Content-Length": str(len(content))} | (headers or {})
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A new one, on loopback."""
    with ObjectStore() as store:
        thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield store
        finally:
            store.shutdown()
            thread.join()
