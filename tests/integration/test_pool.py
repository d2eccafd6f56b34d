"""Connections that lie in the pool between two uses."""

from __future__ import annotations

import psycopg

from infrastructure.postgres import pool


async def test_a_connection_that_was_closed_in_the_pool_is_replaced_unseen(database: str) -> None:
    async with pool(database, 1) as connections:
        async with connections.connection() as connection:
            first = connection.info.backend_pid
        with psycopg.connect(database) as other:
            # Waits until the server process has ended.
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (first,))
        async with connections.connection() as connection:
            await connection.execute("SELECT 1")
            assert connection.info.backend_pid != first


async def test_a_connection_is_used_again_although_a_word_of_the_server_lies_unread(database: str) -> None:
    async with pool(database, 1) as connections:
        async with connections.connection() as connection:
            first = connection.info.backend_pid
            await connection.execute("LISTEN news")
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("NOTIFY news")
        async with connections.connection() as connection:
            await connection.execute("SELECT 1")
            assert connection.info.backend_pid == first
