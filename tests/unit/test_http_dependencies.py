"""What handlers are given is made without a task group."""

from __future__ import annotations

from litestar.routes import HTTPRoute

from tests.support.http_service import http_service


async def test_dependencies_are_resolved_one_after_the_other() -> None:
    async with http_service() as running:
        models = [
            model
            for route in running.app.routes
            if isinstance(route, HTTPRoute)
            for _, model in route.route_handler_map.values()
        ]
    assert any(len(model.dependency_batches) > 2 for model in models)
    assert all(len(batch) == 1 for model in models for batch in model.dependency_batches)
