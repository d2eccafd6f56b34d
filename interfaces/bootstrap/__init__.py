"""The composition root: the one place where ports meet what makes them real."""

from application.declared import Bad, Cancel, Done, NamesNotUnique, Step
from application.past import NotYet
from application.ports import ArchiveAway
from application.what_if.question import TooMuchToSimulate
from domain.audit import Finding
from domain.errors import ExecutionNotFound, InvalidBody, TaskNotFound
from infrastructure.archive.archiving import ArchivingRunning, NoSuchArchive
from infrastructure.archive.catalog import Archive
from infrastructure.archive.files import Damaged
from infrastructure.archive.storage import StorageUnset, StorageUnusable
from infrastructure.audit_log.keys import KeyUnusable
from infrastructure.audit_log.publishing import HeadsUnreadable
from infrastructure.audit_log.verifying import Verified
from infrastructure.embedded_postgres.errors import EmbeddedPostgresError
from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres
from infrastructure.event_store.log import LogRewound
from infrastructure.logs import configure
from infrastructure.metrics import forget_process
from infrastructure.migrator import (
    TablesLocked,
    events_stored,
    migrate_down,
    months_archived,
    services_connected,
)
from infrastructure.projector.batch import QuarantinedEvent, QuarantinedEventMissing
from infrastructure.projector.check import Checked, CheckRunning, Difference, NotCheckable, ReplayedMeanwhile
from infrastructure.projector.rebuild import RebuildRunning, Rebuilt, TablesInUse
from infrastructure.projector.workplace import NewTablesLost
from infrastructure.settings import Settings, WrongSetting, in_force, load
from infrastructure.transfer.database import Fenced, check_fence, remove_fence
from infrastructure.transfer.errors import TransferRefused
from infrastructure.transfer.format import Manifest
from infrastructure.transfer.imports import import_events
from interfaces.bootstrap.database import (
    DatabaseUnusable,
    LogDirectoryUnusable,
    MigrationRefused,
    MigrationsMissing,
    NotPermitted,
    TablesMissing,
    beside_embedded,
    check_database,
    database,
    embedded,
    has_embedded,
    prepare_database,
)
from interfaces.bootstrap.jobs import (
    BundleUnreadable,
    PortUnknown,
    VerifiedBundle,
    apply_tasks,
    check,
    explain_execution,
    explain_task,
    live_definitions,
    live_tasks,
    plan_tasks,
    rebuild,
    replay,
    seed,
    verify,
    verify_bundle,
)
from interfaces.bootstrap.pages import shared_metrics
from interfaces.bootstrap.rebuild_processes import ShareFailed
from interfaces.bootstrap.services import (
    api,
    background,
    projector,
    raise_descriptor_limit,
    scheduler,
    simulated,
)
from interfaces.bootstrap.transfer import (
    Kept,
    LogPlace,
    NoConnectionString,
    NotRecordedYet,
    archive_before,
    elsewhere,
    export_events,
    list_archives,
    position_of,
    replay_events,
    restore_archive,
    selection,
    verify_archive,
)
from interfaces.http.problems import MalformedBody
from projections import UnknownProjection

# What a user can put right: their messages are sentences for the terminal.
USER_ERRORS = (
    WrongSetting,
    EmbeddedPostgresError,
    DatabaseUnusable,
    LogDirectoryUnusable,
    MigrationRefused,
    TablesLocked,
    MigrationsMissing,
    NotPermitted,
    TablesMissing,
    PortUnknown,
    TaskNotFound,
    ExecutionNotFound,
    UnknownProjection,
    RebuildRunning,
    TablesInUse,
    ShareFailed,
    NewTablesLost,
    CheckRunning,
    NotCheckable,
    QuarantinedEventMissing,
    ReplayedMeanwhile,
    LogRewound,
    KeyUnusable,
    TransferRefused,
    NotRecordedYet,
    NoConnectionString,
    Fenced,
    NamesNotUnique,
    ArchiveAway,
    ArchivingRunning,
    Damaged,
    NoSuchArchive,
    StorageUnset,
    StorageUnusable,
    BundleUnreadable,
    HeadsUnreadable,
    InvalidBody,
    MalformedBody,
    NotYet,
    TooMuchToSimulate,
)

__all__ = [
    "USER_ERRORS",
    "Archive",
    "ArchiveAway",
    "Bad",
    "Cancel",
    "Checked",
    "DatabaseUnusable",
    "Difference",
    "Done",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "Fenced",
    "Finding",
    "Kept",
    "KeyUnusable",
    "LogPlace",
    "Manifest",
    "MigrationRefused",
    "MigrationsMissing",
    "QuarantinedEvent",
    "Rebuilt",
    "Settings",
    "Step",
    "Verified",
    "VerifiedBundle",
    "WrongSetting",
    "api",
    "apply_tasks",
    "archive_before",
    "background",
    "beside_embedded",
    "check",
    "check_database",
    "check_fence",
    "configure",
    "database",
    "elsewhere",
    "embedded",
    "events_stored",
    "explain_execution",
    "explain_task",
    "export_events",
    "forget_process",
    "has_embedded",
    "import_events",
    "in_force",
    "list_archives",
    "live_definitions",
    "live_tasks",
    "load",
    "migrate_down",
    "months_archived",
    "plan_tasks",
    "position_of",
    "prepare_database",
    "projector",
    "raise_descriptor_limit",
    "rebuild",
    "remove_fence",
    "replay",
    "replay_events",
    "restore_archive",
    "scheduler",
    "seed",
    "selection",
    "services_connected",
    "shared_metrics",
    "simulated",
    "verify",
    "verify_archive",
    "verify_bundle",
]
