"""A PostgreSQL of Chronoledger's own: its programs found, its cluster made, its postmaster kept and ended."""

from infrastructure.embedded_postgres.errors import (
    BinariesNotFound,
    DataDirectoryInUse,
    DataDirectoryUnusable,
    EmbeddedPostgresError,
    StartFailed,
)
from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres

__all__ = [
    "BinariesNotFound",
    "DataDirectoryInUse",
    "DataDirectoryUnusable",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "StartFailed",
]
