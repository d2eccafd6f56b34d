"""The nodes as the API shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interfaces.http.nodes import Node

if TYPE_CHECKING:
    from infrastructure.nodes import NodeRow, NodeTable


class ShownNodes:
    """`interfaces.http.dependencies.Nodes` over the table of heartbeats."""

    def __init__(self, table: NodeTable, expiry_seconds: float) -> None:
        self._table = table
        self._expiry_seconds = expiry_seconds

    async def nodes(self) -> list[Node]:
        """See `interfaces.http.dependencies.Nodes`."""
        return [self._shown(row) for row in await self._table.rows()]

    def _shown(self, row: NodeRow) -> Node:
        alive, schedules = row.heartbeat_age_seconds < self._expiry_seconds, row.role == "scheduler"
        return Node(
            name=row.name,
            role=row.role,
            alive=alive,
            started_at=row.started_at,
            heartbeat_age_seconds=row.heartbeat_age_seconds,
            claims=(alive and row.claims) if schedules else None,
            clock_right=row.clock_right if schedules else None,
            clock_offset_seconds=row.clock_offset_seconds,
            share=row.share if alive else None,
            in_flight=row.in_flight if alive else None,
            due_index_entries=row.due_index_entries if alive else None,
            lag_events=row.lag_events if alive else None,
        )
