"""What every fact has."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from msgspec import Struct


class Fact(Struct, frozen=True, gc=False, kw_only=True):
    """`at` is the instant of the decision, by the clock of the one who decided."""

    topic: ClassVar[str]

    at: datetime
