"""Keeps the read models up to date with the log: batches, parked events, rebuilds."""

from infrastructure.projector.ports import Projection, ProjectorObserver
from infrastructure.projector.preparation import LaterRelease, Prepared, prepare
from infrastructure.projector.rebuilding import RebuildRunning, Rebuilt, TablesInUse, rebuild
from infrastructure.projector.replay import Replayed, replay_parked
from infrastructure.projector.runner import Projector, TablesMissing

__all__ = [
    "LaterRelease",
    "Prepared",
    "Projection",
    "Projector",
    "ProjectorObserver",
    "RebuildRunning",
    "Rebuilt",
    "Replayed",
    "TablesInUse",
    "TablesMissing",
    "prepare",
    "rebuild",
    "replay_parked",
]
