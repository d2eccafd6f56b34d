"""The append-only log in Postgres: how facts are stored, appended, read and followed."""
