"""Where archive files are kept: a folder, or a bucket of an S3-compatible store by obstore, an extra."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from uuid import uuid4

from application.ports import ArchiveAway
from infrastructure.archive.files import Source
from infrastructure.postgres import first_line

if TYPE_CHECKING:  # an extra
    from obstore.store import S3Store

_UNFINISHED = ".unfinished-"


class StorageUnusable(Exception):
    """Nothing can be written to ARCHIVE_DIR."""

    def __init__(self, storage: str, complaint: str) -> None:
        super().__init__(
            f"ARCHIVE_DIR={storage} cannot be used ({complaint}); permit to write to it, make room in it, or "
            "choose another one"
        )


class StorageUnset(Exception):
    """Nothing is archived without ARCHIVE_DIR; set it."""

    def __init__(self) -> None:
        super().__init__(
            "ARCHIVE_DIR is not set, so nothing is archived: set it to a directory that outlives this process"
            " and that every process shares, or to s3://bucket/prefix"
        )


class Storage(Protocol):
    """Keeps files by name. What is kept survives a crash of the machine."""

    def writing(self) -> contextlib.AbstractContextManager[tuple[BinaryIO, Callable[[str], None]]]:
        """A file to write to, and what gives it its name and keeps it; without that it is gone afterwards.

        Raises `StorageUnusable`.
        """
        ...

    def open(self, name: str) -> Source:
        """The bytes of a file. Raises `ArchiveAway`."""
        ...


class NoStorage:
    """For whoever has no archives: what lies in one is away."""

    def writing(self) -> contextlib.AbstractContextManager[tuple[BinaryIO, Callable[[str], None]]]:
        """See `Storage`."""
        raise StorageUnset

    def open(self, name: str) -> Source:
        """See `Storage`."""
        raise ArchiveAway(name, "no ARCHIVE_DIR is set")


def private(path: str, flags: int) -> int:
    """An `opener` of `open`: a file that it makes can be read and written by its owner only."""
    return os.open(path, flags, 0o600)


class Folder:
    """A folder of this machine, or one that it has mounted. What is made in it is for its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def writing(self) -> Iterator[tuple[BinaryIO, Callable[[str], None]]]:
        """See `Storage`."""
        unfinished = self._path / f"{_UNFINISHED}{uuid4().hex}"
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tidy()
            with open(unfinished, "xb", opener=private) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file, lambda name: self._keep(file, unfinished, name)
        except OSError as error:
            raise StorageUnusable(str(self._path), error.strerror or str(error)) from error
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def open(self, name: str) -> Source:
        """See `Storage`."""
        return _Opened(self._path / name)

    def _tidy(self) -> None:
        """Remove what killed ones have left: whoever still writes holds a lock on his file."""
        for left in self._path.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(OSError), left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()

    def _keep(self, file: BinaryIO, unfinished: Path, name: str) -> None:
        file.flush()
        os.fsync(file.fileno())
        unfinished.rename(self._path / name)
        folder = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut could take the name back
        finally:
            os.close(folder)


class _Opened:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = self._asked(lambda: path.stat().st_size)

    def read(self, offset: int, length: int, /) -> bytes:
        """See `Source`."""

        def asked() -> bytes:
            # Opened for each: files may be many, and are asked for seldom.
            with self._path.open("rb") as file:
                file.seek(offset)
                return file.read(length)

        return self._asked(asked)

    def _asked[T](self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except OSError as error:
            raise ArchiveAway(self._path.name, (error.strerror or str(error)).lower()) from error


# Of one request: somebody waits for the answer.
CONNECT_SECONDS = 3
TRIES_SECONDS = 20


class Bucket:
    """The objects below `s3://bucket/prefix`; who may, and where the store is, say the AWS_… variables."""

    def __init__(self, url: str) -> None:
        """Raises `StorageUnusable` without obstore, or with wrong variables."""
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
            raise StorageUnusable(url, "obstore is missing: pip install 'chronoledger[s3]'") from error
        except BaseError as error:
            raise StorageUnusable(url, first_line(error)) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[tuple[BinaryIO, Callable[[str], None]]]:
        """See `Storage`: written to a temporary file first, then sent; the store shows whole objects only."""
        try:
            with tempfile.TemporaryFile() as file:
                yield file, partial(self._keep, file)
        except self._errors as error:
            raise StorageUnusable(self._url, first_line(error)) from error

    def open(self, name: str) -> Source:
        """See `Storage`."""
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
