"""Carries a log from one database to another: as an archive, or straight up to an earlier moment."""

from infrastructure.carry.archive import Manifest, Selection
from infrastructure.carry.errors import (
    ArchiveDamaged,
    ArchiveTaken,
    ArchiveUnreadable,
    CarryRefused,
    NoSuchNamespace,
    NoSuchTask,
    NotTheWholeLog,
    RedactedMeanwhile,
    StreamsCut,
    TargetInUse,
    TargetIsSource,
    TargetNotEmpty,
)
from infrastructure.carry.exporting import export_events
from infrastructure.carry.importing import Imported, import_events
from infrastructure.carry.replaying import Copied, replay_events
from infrastructure.carry.standstill import NotReleased, StandsStill, check_standstill, end_standstill

__all__ = [
    "ArchiveDamaged",
    "ArchiveTaken",
    "ArchiveUnreadable",
    "CarryRefused",
    "Copied",
    "Imported",
    "Manifest",
    "NoSuchNamespace",
    "NoSuchTask",
    "NotReleased",
    "NotTheWholeLog",
    "RedactedMeanwhile",
    "Selection",
    "StandsStill",
    "StreamsCut",
    "TargetInUse",
    "TargetIsSource",
    "TargetNotEmpty",
    "check_standstill",
    "end_standstill",
    "export_events",
    "import_events",
    "replay_events",
]
