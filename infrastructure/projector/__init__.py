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
from infrastructure.projector.shares import Share
from infrastructure.projector.sharing import EventRefused, Workers, fold_share
from infrastructure.projector.whole_log import WholeLog
from infrastructure.projector.workplace import NewTablesLost

__all__ = [
    "BATCH_EVENTS",
    "CheckObserver",
    "CheckRunning",
    "Checked",
    "Difference",
    "EventRefused",
    "LaterRelease",
    "NewTablesLost",
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
    "Share",
    "TablesInUse",
    "TablesMissing",
    "WholeLog",
    "Workers",
    "check",
    "fold_share",
    "prepare",
    "rebuild",
    "replay_parked",
]
