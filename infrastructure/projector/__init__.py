"""Keeps the read models up to date with the log: batches, parked events, rebuilds, checks."""

from infrastructure.projector.checking import (
    Checked,
    CheckObserver,
    CheckRunning,
    NotCheckable,
    ParkedMeanwhile,
    check,
)
from infrastructure.projector.comparing import Difference
from infrastructure.projector.parking import Parked
from infrastructure.projector.ports import Projection, ProjectorObserver
from infrastructure.projector.preparation import LaterRelease, Prepared, prepare
from infrastructure.projector.reading import BATCH_EVENTS
from infrastructure.projector.rebuilding import (
    RebuildObserver,
    RebuildRunning,
    Rebuilt,
    TablesInUse,
    rebuild,
)
from infrastructure.projector.replay import ParkedEventMissing, Replayed, replay_parked
from infrastructure.projector.runner import Projector, TablesMissing
from infrastructure.projector.whole_log import WholeLog

__all__ = [
    "BATCH_EVENTS",
    "CheckObserver",
    "CheckRunning",
    "Checked",
    "Difference",
    "LaterRelease",
    "NotCheckable",
    "Parked",
    "ParkedEventMissing",
    "ParkedMeanwhile",
    "Prepared",
    "Projection",
    "Projector",
    "ProjectorObserver",
    "RebuildObserver",
    "RebuildRunning",
    "Rebuilt",
    "Replayed",
    "TablesInUse",
    "TablesMissing",
    "WholeLog",
    "check",
    "prepare",
    "rebuild",
    "replay_parked",
]
