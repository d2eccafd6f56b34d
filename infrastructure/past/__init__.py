"""Reads the log as it was at an earlier moment."""
