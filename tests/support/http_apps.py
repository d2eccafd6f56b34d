"""Applications that are lent to one test after the other: making one takes a tenth of a second."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from litestar import Litestar

from interfaces.http.api import Dependencies, HttpOptions
from interfaces.http.app import create_app


class _Stand:
    """What an application holds in the place of a part, which is each test's own."""

    part: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)


type _Made = tuple[Litestar, dict[str, _Stand]]

_free: defaultdict[HttpOptions, list[_Made]] = defaultdict(list)


@contextlib.contextmanager
def lent(dependencies: Dependencies, options: HttpOptions) -> Iterator[Litestar]:
    """An application with these parts that nobody else has meanwhile."""
    free = _free[options]
    app, stands = free.pop() if free else _made(options)
    for name, stand in stands.items():
        stand.part = getattr(dependencies, name)
    yield app
    free.append((app, stands))  # one whose test failed goes on to nobody


def _made(options: HttpOptions) -> _Made:
    stands = {field.name: _Stand() for field in fields(Dependencies)}
    parts: dict[str, Any] = dict(stands)
    return create_app(Dependencies(**parts), options), stands
