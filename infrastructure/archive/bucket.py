"""Archive files in a bucket of an S3-compatible store, by obstore, which is an extra."""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from application.archived import ArchiveAway
from infrastructure.archive.places import PlaceUnusable
from infrastructure.event_store.outage import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obstore.store import S3Store

    from infrastructure.archive.reading import Source

# Of one request: somebody waits for the answer.
CONNECT_SECONDS = 3
TRIES_SECONDS = 20


class Bucket:
    """The objects below `s3://bucket/prefix`; who may, and where the store is, say the AWS_… variables."""

    def __init__(self, url: str) -> None:
        """Raises `PlaceUnusable` without obstore, or with wrong variables."""
        self._url = url
        try:
            from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra
            from obstore.store import S3Store  # noqa: PLC0415

            self._errors = (BaseError, OSError)
            self._store = S3Store.from_url(
                url,
                client_options={
                    "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
                },
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=TRIES_SECONDS)},
            )
        except ImportError as error:
            raise PlaceUnusable(url, "obstore is missing: pip install 'chronoledger[s3]'") from error
        except BaseError as error:
            raise PlaceUnusable(url, first_line(error)) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[tuple[BinaryIO, Callable[[str], None]]]:
        """See `Place`: written to a temporary file first, then sent; the store shows whole objects only."""
        try:
            with tempfile.TemporaryFile() as file:
                yield file, partial(self._keep, file)
        except self._errors as error:
            raise PlaceUnusable(self._url, first_line(error)) from error

    def open(self, name: str) -> Source:
        """See `Place`."""
        return _Object(self._store, name, self._errors)

    def _keep(self, file: BinaryIO, name: str) -> None:
        file.seek(0)
        self._store.put(name, file)


class _Object:
    def __init__(self, store: S3Store, name: str, errors: tuple[type[Exception], ...]) -> None:
        self._store = store
        self._name = name
        self._errors = errors
        self.size: int = self._asked(lambda: store.head(name)["size"])

    def read(self, offset: int, length: int, /) -> bytes:
        """See `Source`."""
        if not length:
            return b""
        return self._asked(lambda: bytes(self._store.get_range(self._name, start=offset, length=length)))

    def _asked[T](self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except self._errors as error:
            raise ArchiveAway(self._name, first_line(error)) from error
