"""Copies a log from one database to another: as a file, or straight up to an earlier moment."""
