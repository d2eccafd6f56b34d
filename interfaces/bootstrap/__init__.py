"""The composition root: the one place where ports meet what makes them real."""

from application.past.moment import NotYet
from application.what_if.question import TooMuchToSimulate
from domain.errors import ExecutionNotFound, InvalidBody, TaskNotFound
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
    InvalidBody,
    MalformedBody,
    NotYet,
    TooMuchToSimulate,
)

__all__ = [
    "USER_ERRORS",
    "Checked",
    "Difference",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "Parked",
    "Settings",
    "WrongSetting",
    "api",
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
    "load",
    "migrate_down",
    "prepare_database",
    "projector",
    "rebuild",
    "replay",
    "scheduler",
    "seed",
    "services_connected",
    "shared_metrics",
    "simulated",
]
