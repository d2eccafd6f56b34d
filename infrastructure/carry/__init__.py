"""Carries a log from one database to another: as an archive, or straight up to an earlier moment."""

from infrastructure.carry.archive import Manifest, Selection
from infrastructure.carry.errors import (
    ArchiveDamaged,
    ArchiveTaken,
    ArchiveUnreadable,
    CarryRefused,
    NotTheWholeLog,
    StreamsCut,
    TargetInUse,
    TargetNotEmpty,
)
from infrastructure.carry.exporting import export_events
from infrastructure.carry.importing import Imported, import_events

__all__ = [
    "ArchiveDamaged",
    "ArchiveTaken",
    "ArchiveUnreadable",
    "CarryRefused",
    "Imported",
    "Manifest",
    "NotTheWholeLog",
    "Selection",
    "StreamsCut",
    "TargetInUse",
    "TargetNotEmpty",
    "export_events",
    "import_events",
]
