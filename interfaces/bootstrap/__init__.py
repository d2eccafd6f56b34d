"""The composition root: the one place where ports meet what makes them real."""

from application.archived import ArchiveAway
from application.declared.applying import Done
from application.declared.planning import Bad, Cancel, Step
from application.declared.standing import NamesNotUnique
from application.past.moment import NotYet
from application.what_if.question import TooMuchToSimulate
from domain.errors import ExecutionNotFound, InvalidBody, TaskNotFound
from domain.verification import Finding
from infrastructure.archive.archiving import ArchivingRunning
from infrastructure.archive.catalogue import Archive
from infrastructure.archive.form import Damaged
from infrastructure.archive.places import PlaceUnset, PlaceUnusable
from infrastructure.archive.restoring import NoSuchArchive
from infrastructure.carry import (
    CarryRefused,
    Manifest,
    StandsStill,
    check_standstill,
    end_standstill,
    import_events,
)
from infrastructure.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from infrastructure.event_store.log import LogRewound
from infrastructure.logs import configure
from infrastructure.machine import give_way
from infrastructure.metrics import forget_process
from infrastructure.migrator import (
    TablesLocked,
    events_stored,
    migrate_down,
    months_archived,
    services_connected,
)
from infrastructure.projector import (
    Checked,
    CheckRunning,
    Difference,
    NewTablesLost,
    NotCheckable,
    Parked,
    ParkedEventMissing,
    ParkedMeanwhile,
    RebuildRunning,
    Rebuilt,
    TablesInUse,
)
from infrastructure.sealed_log.keys import KeyUnusable
from infrastructure.sealed_log.publishing import HeadsUnreadable
from infrastructure.sealed_log.verifying import Verified
from infrastructure.settings import Settings, WrongSetting, in_force, load
from interfaces.bootstrap.archives import (
    Kept,
    archive_before,
    list_archives,
    restore_archive,
    verify_archive,
)
from interfaces.bootstrap.carry import (
    LogPlace,
    NoConnectionString,
    NotRecordedYet,
    elsewhere,
    export_events,
    position_of,
    replay_events,
    selection,
)
from interfaces.bootstrap.database import (
    beside_embedded,
    check_database,
    database,
    embedded,
    has_embedded,
    prepare_database,
)
from interfaces.bootstrap.declared import apply_tasks, live_definitions, live_tasks, plan_tasks
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
from interfaces.bootstrap.proof import BundleUnreadable, VerifiedBundle, verify, verify_bundle
from interfaces.bootstrap.refusals import (
    DatabaseUnusable,
    LogDirectoryUnusable,
    MigrationRefused,
    MigrationsMissing,
    NotPermitted,
    TablesMissing,
)
from interfaces.bootstrap.services import api, background, projector, scheduler
from interfaces.bootstrap.shares import ShareFailed
from interfaces.bootstrap.simulations import simulated
from interfaces.http.refusals import MalformedBody
from projections.catalogue import UnknownProjection

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
    ParkedEventMissing,
    ParkedMeanwhile,
    LogRewound,
    KeyUnusable,
    CarryRefused,
    NotRecordedYet,
    NoConnectionString,
    StandsStill,
    NamesNotUnique,
    ArchiveAway,
    ArchivingRunning,
    Damaged,
    NoSuchArchive,
    PlaceUnset,
    PlaceUnusable,
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
    "Finding",
    "Kept",
    "KeyUnusable",
    "LogPlace",
    "Manifest",
    "MigrationRefused",
    "MigrationsMissing",
    "Parked",
    "Rebuilt",
    "Settings",
    "StandsStill",
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
    "check_standstill",
    "configure",
    "database",
    "elsewhere",
    "embedded",
    "end_standstill",
    "events_stored",
    "explain_execution",
    "explain_task",
    "export_events",
    "forget_process",
    "give_way",
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
    "rebuild",
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
