"""Carries a log from one database to another: as an archive, or straight up to an earlier moment."""
