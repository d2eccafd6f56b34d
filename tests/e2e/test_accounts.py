"""A normal user needs no rights and no home."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.client import Client, one_off, soon
from tests.support.service import Service
from tests.support.supervisor import NOBODY, as_nobody, nobody_can_run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.callee import Callee


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_normal_user_without_a_home_can_serve(folder: Path, callee: Callee) -> None:
    if not nobody_can_run_python():
        pytest.skip("the account nobody cannot reach this checkout and its interpreter")
    own = folder / "own"
    own.mkdir()
    os.chown(own, NOBODY.pw_uid, NOBODY.pw_gid)
    with Service(own, account=as_nobody()) as service:
        assert "HOME" not in service.environment()
        client = Client(service.url)
        task = client.create(one_off(callee.url("/ok?nobody"), soon(0.5)))
        assert client.until_over(task)["status"] == "completed"
        assert len(callee.calls("/ok?nobody")) == 1
        assert service.stop() == 0
        assert not service.processes()
