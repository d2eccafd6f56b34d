"""The composition root: the one place where ports meet what makes them real."""

from application.archived import ArchiveAway
from domain.errors import ExecutionNotFound, TaskNotFound
from infrastructure.archive.archiving import ArchivingRunning
from infrastructure.archive.catalogue import Archive
from infrastructure.archive.form import Damaged
from infrastructure.archive.places import PlaceUnusable
from infrastructure.archive.restoring import NoSuchArchive
from infrastructure.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from infrastructure.event_store.log import LogRewound
from infrastructure.logs import configure
from infrastructure.metrics import forget_process
from infrastructure.migrator import events_stored, migrate_down, services_connected
from infrastructure.projector import (
    Checked,
    CheckRunning,
    Difference,
    NotCheckable,
    Parked,
    ParkedMeanwhile,
    RebuildRunning,
    TablesInUse,
)
from infrastructure.settings import Settings, WrongSetting, in_force, load
from interfaces.bootstrap.archives import (
    Kept,
    archive_before,
    list_archives,
    restore_archive,
    verify_archive,
)
from interfaces.bootstrap.database import database, embedded, prepare_database
from interfaces.bootstrap.jobs import (
    PortUnknown,
    check,
    explain_execution,
    explain_task,
    rebuild,
    replay,
    seed,
)
from interfaces.bootstrap.pages import shared_metrics
from interfaces.bootstrap.refusals import DatabaseUnusable, LogDirectoryUnusable, MigrationRefused
from interfaces.bootstrap.services import api, background, projector, scheduler
from projections.catalogue import UnknownProjection

# What a user can put right: their messages are sentences for the terminal.
USER_ERRORS = (
    WrongSetting,
    EmbeddedPostgresError,
    DatabaseUnusable,
    LogDirectoryUnusable,
    MigrationRefused,
    PortUnknown,
    TaskNotFound,
    ExecutionNotFound,
    UnknownProjection,
    RebuildRunning,
    TablesInUse,
    CheckRunning,
    NotCheckable,
    ParkedMeanwhile,
    LogRewound,
    ArchiveAway,
    ArchivingRunning,
    Damaged,
    NoSuchArchive,
    PlaceUnusable,
)

__all__ = [
    "USER_ERRORS",
    "Archive",
    "ArchiveAway",
    "Checked",
    "Difference",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "Kept",
    "Parked",
    "Settings",
    "WrongSetting",
    "api",
    "archive_before",
    "background",
    "check",
    "configure",
    "database",
    "embedded",
    "events_stored",
    "explain_execution",
    "explain_task",
    "forget_process",
    "in_force",
    "list_archives",
    "load",
    "migrate_down",
    "prepare_database",
    "projector",
    "rebuild",
    "replay",
    "restore_archive",
    "scheduler",
    "seed",
    "services_connected",
    "shared_metrics",
    "verify_archive",
]
