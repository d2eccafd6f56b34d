"""Tables that an earlier release has left."""

from __future__ import annotations

from psycopg import AsyncConnection

from infrastructure.postgres import pool
from infrastructure.projector.runner import Projector
from projections import PROJECTIONS
from tests.support.projecting import connect, contents, project, running, until
from tests.support.random_log import RandomLog
from tests.support.stored import append

# As version 2 of `tasks` and version 3 of `task_results` had them, as far as a rebuild looks at them.
EARLIER = """
DROP VIEW tasks, tasks_by_status, task_results;
DROP TABLE task_definitions, task_states, open_results, closed_results;
CREATE TABLE tasks (id uuid PRIMARY KEY);
CREATE INDEX tasks_due ON tasks (id);
CREATE TABLE task_results (id uuid PRIMARY KEY);
UPDATE projection_checkpoints SET version = version - 1 WHERE name IN ('tasks', 'task_results');
"""


async def kinds(connection: AsyncConnection) -> dict[str, str]:
    cursor = await connection.execute(
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relname IN ('tasks', 'task_results')"
    )
    return dict(await cursor.fetchall())


async def test_tables_whose_name_a_view_has_now_are_replaced_by_it(database: str) -> None:
    async with await connect(database) as connection, pool(database, 4) as db:
        await append(connection, RandomLog(19).grow(500))
        await project(connection)
        before = await contents(connection)
        await connection.execute(EARLIER.encode())

        async def replaced() -> bool:
            return await kinds(connection) == {"tasks": "v", "task_results": "v"}

        async with running(Projector(db, database, PROJECTIONS)):
            await until(replaced)
        assert await contents(connection) == before
