"""Reads what simulations start from."""

from infrastructure.what_if.reading import PostgresRuns

__all__ = ["PostgresRuns"]
