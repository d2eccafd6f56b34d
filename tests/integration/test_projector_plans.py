"""How the statements of a batch are planned, whatever the tables held when that was done."""

from __future__ import annotations

from importlib import resources

import pytest
from psycopg import AsyncConnection

from infrastructure.projector.batch import lock_checkpoints
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS
from projections.projection import statement
from tests.support.plans import plan_nodes
from tests.support.projecting import connect, project
from tests.support.random_log import RandomLog
from tests.support.stored import append

BY_IDS = sorted(
    path.name.removesuffix(".sql")
    for path in (resources.files("projections") / "sql").iterdir()
    if path.name.startswith(("take_", "drop_"))
)


@pytest.mark.parametrize("events", [0, 2_000])
async def test_a_batch_finds_rows_by_their_index_however_small_a_table_was(
    database: str, events: int
) -> None:
    async with await connect(database) as connection:
        await prepare(connection, PROJECTIONS)
        await append(connection, RandomLog(3).grow(events)) if events else None
        await project(connection)
        await connection.execute("ANALYZE")
        async with connection.transaction():
            await lock_checkpoints(connection, PROJECTIONS)
            scans = {name: await generic_scan(connection, name) for name in BY_IDS}
    assert len(scans) == 5
    assert {kind for kind in scans.values() if kind not in {"Index Scan", "Bitmap Heap Scan"}} == set()


async def generic_scan(connection: AsyncConnection, name: str) -> str:
    """How a plan for any ids reads the table."""
    text = statement(name).replace(b"%(ids)s", b"$1")
    await connection.execute(b"PREPARE " + name.encode() + b" (uuid[]) AS " + text)
    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    explained = b"EXPLAIN (FORMAT JSON) EXECUTE " + name.encode() + b" ('{}')"
    cursor = await connection.execute(explained)
    (plan,) = await cursor.fetchone() or ()
    scans = [node for node in plan_nodes(plan[0]["Plan"]) if node["Node Type"].endswith("Scan")]
    return str(scans[0]["Node Type"])
