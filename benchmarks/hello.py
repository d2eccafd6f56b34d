"""A web server on the service's own stack that does nothing: what an API process could answer at all."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from litestar import Litestar, get
from msgspec import Struct

from interfaces.server import address, listen, serve


class Greeting(Struct, frozen=True):
    hello: str


@get("/hello")
async def hello() -> Greeting:
    """The least that an endpoint can do."""
    return Greeting("world")


async def main() -> None:
    """Print the URL and serve until stdin ends, as it does with the process that holds it."""
    listening = listen("127.0.0.1", 0)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    print(f"{address(listening)}/hello", flush=True)
    app = Litestar([hello], openapi_config=None, logging_config=None)
    await serve(app, listening, stop, grace_seconds=1)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
