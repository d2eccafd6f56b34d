"""What goes to a connection's transport, and in how many pieces."""

from __future__ import annotations

import asyncio

import pytest

from interfaces.whole_answers import WholeAnswers

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"body"


class Wire(asyncio.Transport):
    """Remembers what was sent, piece by piece."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 7)})
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def write_eof(self) -> None:
        self.pieces.append(b"<eof>")

    def close(self) -> None:
        self.pieces.append(b"<closed>")


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def answers(wire: Wire) -> WholeAnswers:
    return WholeAnswers(wire)


def test_a_head_leaves_with_the_body(wire: Wire, answers: WholeAnswers) -> None:
    answers.write(HEAD)
    assert wire.pieces == []
    answers.write(BODY)
    assert wire.pieces == [HEAD + BODY]


def test_further_pieces_of_a_body_leave_as_they_come(wire: Wire, answers: WholeAnswers) -> None:
    for piece in (HEAD, b"1", b"2", b"3"):
        answers.write(piece)
    assert wire.pieces == [HEAD + b"1", b"2", b"3"]


def test_a_head_without_a_body_leaves_when_the_answer_is_complete(wire: Wire, answers: WholeAnswers) -> None:
    answers.write(HEAD)
    answers.answered()
    assert wire.pieces == [HEAD]


def test_every_answer_of_a_connection_is_whole(wire: Wire, answers: WholeAnswers) -> None:
    for _ in range(2):
        answers.write(HEAD)
        answers.write(BODY)
        answers.answered()
    assert wire.pieces == [HEAD + BODY, HEAD + BODY]


def test_who_waits_to_send_a_body_is_told_to_at_once(wire: Wire, answers: WholeAnswers) -> None:
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    for piece in (go_on, HEAD, BODY):
        answers.write(piece)
    assert wire.pieces == [go_on, HEAD + BODY]


def test_what_is_kept_leaves_before_the_connection_ends(wire: Wire, answers: WholeAnswers) -> None:
    answers.write(HEAD)
    answers.write_eof()
    answers.close()
    assert wire.pieces == [HEAD, b"<eof>", b"<closed>"]


def test_all_else_is_the_transport_s(wire: Wire, answers: WholeAnswers) -> None:
    assert answers.get_extra_info("peername") == wire.get_extra_info("peername")
