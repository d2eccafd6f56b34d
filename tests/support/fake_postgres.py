"""A server that says to each connection what a test wants it to say, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def message(kind: bytes, body: bytes) -> bytes:
    """A message of PostgreSQL's protocol (its documentation, "Message Formats")."""
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def refusal(state: str, words: str) -> bytes:
    """A connection's end by a FATAL error with a SQLSTATE."""
    return message(b"E", f"SFATAL\0C{state}\0M{words}\0\0".encode())


WELCOME = message(b"R", bytes(4)) + message(b"Z", b"I")


@contextlib.contextmanager
def answering(folder: Path, *answers: bytes) -> Iterator[str]:
    """The DSN of a Unix socket in `folder` that gives one connection after the other its answer.

    Without answers nobody listens there.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        if answers:
            listener.bind(str(folder / ".s.PGSQL.1"))
            listener.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1024)
                    connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        yield f"host={folder} port=1 user=somebody dbname=postgres"
        server.join()
