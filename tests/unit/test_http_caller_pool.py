"""Which connection a call gets, who waits for whom, and what is kept of hosts that nobody calls."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

import httpx
import pytest

from application.ports import ResourcesExhausted
from infrastructure.http_caller import pool as pools
from infrastructure.http_caller.bounds import Bounds
from infrastructure.http_caller.connection import Connection
from infrastructure.http_caller.pool import Pool
from infrastructure.http_caller.progress import NotConnected, Progress, Stage
from infrastructure.http_caller.shortage import shortage
from tests.support.attempts import until
from tests.support.sockets import WHOLE, Socket

if TYPE_CHECKING:
    from collections.abc import Iterable

SITE, OTHER = "http://one.test", "http://two.test"


class Dialler:
    """Opens connections to nowhere, and counts them."""

    def __init__(self) -> None:
        self.opened: list[Connection] = []
        self.held = asyncio.Event()
        self.held.set()

    async def dial(self, site: str) -> Connection:
        await self.held.wait()
        connection = Connection(Bounds(body=10))
        connection.connection_made(Socket())
        self.opened.append(connection)
        return connection

    async def close(self) -> None:
        pass


def of(site: str, *, fresh: bool = False, within: float | None = None) -> Progress:
    return Progress(httpx.Request("GET", site), within, fresh=fresh, sent=False)


async def served(connection: Connection) -> None:
    """A request and its answer."""
    head = asyncio.create_task(connection.ask(b"GET / HTTP/1.1\r\n\r\n", of_head=False))
    await asyncio.sleep(0)
    connection.data_received(WHOLE["length"])
    await head


async def taken(pool: Pool, number: int, site: str = SITE) -> list[Connection]:
    return [await pool.take(site, of(site)) for _ in range(number)]


async def given_back(pool: Pool, connections: Iterable[Connection], site: str = SITE) -> None:
    for connection in connections:
        await served(connection)
        pool.give_back(site, connection)


def line(pool: Pool, *sites: str) -> list[asyncio.Task[Connection]]:
    return [asyncio.create_task(pool.take(site, of(site))) for site in sites]


async def rounds() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def dialler() -> Dialler:
    return Dialler()


@pytest.fixture
async def pool(dialler: Dialler) -> Pool:
    return Pool(dialler, max_calls=3, max_per_host=2)


async def test_the_connection_that_was_used_last_is_used_next(pool: Pool) -> None:
    first, second = await taken(pool, 2)
    await given_back(pool, [first, second])
    assert await taken(pool, 2) == [second, first]


async def test_it_is_told_whether_the_connection_is_a_used_one(pool: Pool) -> None:
    state = of(SITE)
    await given_back(pool, [await pool.take(SITE, state)])
    assert (state.reused, state.sent, state.stage) == (False, True, Stage.ANSWER)
    await pool.take(SITE, again := of(SITE))
    assert again.reused


async def test_another_hosts_connection_is_not_taken(pool: Pool, dialler: Dialler) -> None:
    await given_back(pool, await taken(pool, 1))
    await taken(pool, 1, OTHER)
    assert len(dialler.opened) == 2


async def test_a_call_that_wants_a_fresh_one_gets_it_and_leaves_none(pool: Pool, dialler: Dialler) -> None:
    await given_back(pool, await taken(pool, 1))
    connection = await pool.take(SITE, of(SITE, fresh=True))
    assert connection is not dialler.opened[0]
    await given_back(pool, [connection])
    assert await taken(pool, 1) == dialler.opened[:1]


async def test_a_connection_that_ended_or_spoke_while_idle_is_not_taken(pool: Pool, dialler: Dialler) -> None:
    first, second = await taken(pool, 2)
    await given_back(pool, [first, second])
    first.connection_lost(None)
    second.data_received(b"?")
    assert (await taken(pool, 1))[0] not in (first, second)
    assert second.lost
    assert len(dialler.opened) == 3


async def test_an_idle_connection_can_be_taken_without_waiting(pool: Pool) -> None:
    assert pool.take_idle(SITE) is None  # nobody has called there
    first, second = await taken(pool, 2)
    await given_back(pool, [first])
    assert pool.take_idle(OTHER) is None
    assert pool.take_idle(SITE) is first
    assert pool.take_idle(SITE) is None  # the host is full
    await given_back(pool, [first, second])
    assert [pool.take_idle(SITE), pool.take_idle(SITE)] == [second, first]
    await given_back(pool, [first, second])
    closing = asyncio.create_task(pool.aclose())
    await rounds()
    assert pool.take_idle(SITE) is None
    first.connection_lost(None)
    second.connection_lost(None)
    await closing


async def test_without_waiting_there_is_none_for_one_too_many(pool: Pool) -> None:
    ours = await taken(pool, 1)
    await taken(pool, 2, OTHER)
    await given_back(pool, ours)
    assert pool.take_idle(SITE) is ours[0]
    await given_back(pool, ours)
    await taken(pool, 1, "http://three.test")
    assert pool.take_idle(SITE) is None


async def test_a_full_host_gives_no_idle_one_without_waiting(pool: Pool) -> None:
    await given_back(pool, await taken(pool, 1))
    for _ in range(2):
        await pool.take(SITE, of(SITE, fresh=True))
    assert pool.take_idle(SITE) is None


async def test_a_host_is_forgotten_with_the_last_call_that_did_not_wait(pool: Pool) -> None:
    await given_back(pool, await taken(pool, 1))
    connection = pool.take_idle(SITE)
    assert connection is not None
    connection.connection_lost(None)
    pool.give_back(SITE, connection)
    assert pool.hosts == 0


async def test_a_connection_that_was_taken_without_waiting_counts_as_a_call(pool: Pool) -> None:
    both = await taken(pool, 2)
    await given_back(pool, both)
    assert pool.take_idle(SITE)
    assert pool.take_idle(SITE)
    [waiting] = line(pool, SITE)
    await rounds()
    assert not waiting.done()
    await given_back(pool, both[:1])
    assert await waiting is both[0]


async def test_idle_connections_are_closed_in_time_and_the_host_is_forgotten(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "KEEPALIVE_SECONDS", 0.05)
    first, second = await taken(pool, 2)
    await given_back(pool, [first])
    await asyncio.sleep(0.03)
    await given_back(pool, [second])
    await until(lambda: first.lost and second.lost)
    assert pool.hosts == 0


async def test_an_old_idle_connection_is_not_taken_though_nobody_has_closed_it(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await given_back(pool, first := await taken(pool, 1))
    monkeypatch.setattr(pools, "KEEPALIVE_SECONDS", 0)
    await asyncio.sleep(0.001)
    assert await taken(pool, 1) != first
    assert first[0].lost


async def test_a_host_is_forgotten_with_its_last_call(pool: Pool) -> None:
    [connection] = await taken(pool, 1)
    pool.give_back(SITE, connection)  # it was not asked, so nobody knows its state
    assert connection.lost
    assert pool.hosts == 0


async def test_a_full_host_holds_up_no_other(pool: Pool) -> None:
    await taken(pool, 2)
    [waiting] = line(pool, SITE)
    await rounds()
    await taken(pool, 1, OTHER)
    assert not waiting.done()
    waiting.cancel()


async def test_who_waits_is_admitted_in_order_where_there_is_room(pool: Pool) -> None:
    [first, second], [other] = await taken(pool, 2), await taken(pool, 1, OTHER)
    one, two, three = line(pool, SITE, OTHER, SITE)
    await rounds()
    pool.give_back(OTHER, other)
    await rounds()
    assert (one.done(), two.done(), three.done()) == (False, True, False)
    pool.give_back(SITE, first)
    await rounds()
    assert (one.done(), three.done()) == (True, False)
    pool.give_back(SITE, second)
    await rounds()
    assert three.done()


async def test_who_gives_up_waiting_leaves_the_place_to_others(pool: Pool) -> None:
    [first, second] = await taken(pool, 2)
    one, two, three = line(pool, SITE, SITE, SITE)
    await rounds()
    one.cancel()
    await rounds()
    pool.give_back(SITE, first)
    two.cancel()  # it has been admitted, and does not know yet
    await rounds()
    assert three.done()
    assert [task.cancelled() for task in (one, two, three)] == [True, True, False]
    pool.give_back(SITE, second)
    pool.give_back(SITE, three.result())
    assert pool.hosts == 0
    assert len(await taken(pool, 2)) == 2


async def test_a_connection_that_is_not_made_leaves_room(pool: Pool, dialler: Dialler) -> None:
    dialler.held.clear()
    for _ in range(3):
        with pytest.raises(NotConnected):
            await pool.take(SITE, of(SITE, within=0.001))
    assert pool.hosts == 0


async def test_closing_ends_the_wait_for_room(pool: Pool, dialler: Dialler) -> None:
    await taken(pool, 2)
    [waiting] = line(pool, SITE)
    await rounds()
    closing = asyncio.create_task(pool.aclose())
    with pytest.raises(ConnectionAbortedError):
        await waiting
    with pytest.raises(ConnectionAbortedError):
        await taken(pool, 1, OTHER)
    assert all(connection.lost for connection in dialler.opened)
    for connection in dialler.opened:
        connection.connection_lost(None)
    await closing
    assert len(dialler.opened) == 2


async def test_after_closing_nothing_is_open_and_no_connection_is_handed_out(
    pool: Pool, dialler: Dialler
) -> None:
    dialler.held.clear()
    [dialling] = line(pool, SITE)
    await rounds()
    await pool.aclose()
    dialler.held.set()
    with pytest.raises(ConnectionAbortedError):
        await dialling
    assert dialler.opened[0].lost
    assert pool.hosts == 0


class NoRoom(Dialler):
    """Fails with these before it opens connections."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    async def dial(self, site: str) -> Connection:
        if self.errors:
            raise self.errors.pop(0)
        return await super().dial(site)


def no_room(number: int = errno.EMFILE) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_machine_without_room_is_told_from_a_target_that_cannot_be_reached(number: int) -> None:
    pool = Pool(NoRoom(no_room(number), no_room(errno.ECONNREFUSED)), max_calls=10, max_per_host=10)
    with pytest.raises(ResourcesExhausted) as lacking:
        await pool.take(SITE, of(SITE))
    assert lacking.value.errno == number
    with pytest.raises(ConnectionRefusedError):
        await pool.take(SITE, of(SITE))
    assert pool.hosts == 0


async def test_idle_connections_make_room_for_a_new_one() -> None:
    dialler = NoRoom()
    pool = Pool(dialler, max_calls=10, max_per_host=10)
    await given_back(pool, await taken(pool, 1, OTHER), OTHER)
    dialler.errors.append(no_room())
    await pool.take(SITE, of(SITE))
    assert not dialler.opened[0].reusable


async def test_a_call_that_was_sent_in_part_waits_for_room() -> None:
    dialler = NoRoom(no_room(), no_room())
    redirected = of(SITE)
    redirected.sent = True
    await Pool(dialler, max_calls=10, max_per_host=10).take(SITE, redirected)
    assert len(dialler.opened) == 1


@pytest.mark.parametrize(
    ("site", "is_lacking"),
    [("http://127.0.0.1:9", True), ("http://[fe80::1]:9", False), ("http://no.such.host.invalid:9", False)],
)
async def test_no_ports_are_left_only_for_an_address_that_others_reach(site: str, is_lacking: bool) -> None:
    found = await shortage(no_room(errno.EADDRNOTAVAIL), site)
    assert found == (errno.EADDRNOTAVAIL if is_lacking else None)
