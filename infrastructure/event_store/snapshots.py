"""States of tasks as stored bytes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from domain.task import Over, Paused, Scheduled

if TYPE_CHECKING:
    from domain.task import Task

# By which rules a state was folded. To be raised with every change of what `domain.task` makes of facts, or
# of the shape of a task's states: snapshots of before are left alone then.
FOLD = 2

_KINDS: dict[str, type[Any]] = {"scheduled": Scheduled, "paused": Paused, "over": Over}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_decoders = {name: msgspec.json.Decoder(kind) for name, kind in _KINDS.items()}
_encoder = msgspec.json.Encoder()


def encode_task(task: Task) -> tuple[str, bytes]:
    """What kind of state it is, and the JSON of it."""
    return _NAMES[type(task)], _encoder.encode(task)


def decode_task(kind: str, state: bytes) -> Task | None:
    """The state that was stored; None for bytes that are none: the stream tells it as well."""
    decoder = _decoders.get(kind)
    try:
        return decoder.decode(state) if decoder else None
    except (ValueError, RecursionError):
        return None
