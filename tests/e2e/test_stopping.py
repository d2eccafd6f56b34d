"""Ending in good order, and refusing to start where that would do harm."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.e2e.client import Client, one_off, soon
from tests.support.service import until

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.support.service import Service


def test_sigterm_lets_a_running_call_end_records_it_and_leaves_nothing_behind(
    own_service: Service, callee: Callee
) -> None:
    client = Client(own_service.url)
    task = client.create(one_off(callee.url("/slow/2?stopping"), soon(0.5)))
    callee.wait_for("/slow/2?stopping")
    assert own_service.stop() == 0
    assert not own_service.processes()
    assert '"waiting for running calls"' in own_service.log.read_text()

    own_service.start()
    client = Client(own_service.url)
    assert client.task(task)["status"] == "completed"
    [result] = client.results(task)
    assert (result["status"], result["attempts"], result["status_code"]) == ("succeeded", 1, 200)
    assert result["duration_ms"] >= 2000
    assert len(callee.calls("/slow/2?stopping")) == 1


def test_a_second_signal_ends_a_service_that_waits_for_a_call(own_service: Service, callee: Callee) -> None:
    client = Client(own_service.url)
    client.create(one_off(callee.url("/hang?stopping"), soon(0.5), timeout_seconds=600))
    callee.wait_for("/hang?stopping")
    # Those of the first second count as the first one.
    assert until(lambda: _impatiently_stopped(own_service), "it ends", seconds=15) == 128 + signal.SIGTERM
    until(lambda: not own_service.processes(), "its children end with it")


def _impatiently_stopped(service: Service) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return service.stop(0.1)
    return None


def test_a_second_service_on_the_same_data_is_refused_with_a_sentence(shared_service: Service) -> None:
    refused = shared_service.run("serve")
    assert refused.returncode == 1
    [sentence] = refused.stderr.splitlines()
    assert str(shared_service.folder / "data") in sentence
    assert "is in use by process" in sentence
    assert shared_service.is_healthy()


def test_a_port_in_use_is_refused_with_a_sentence(shared_service: Service) -> None:
    port = shared_service.url.rpartition(":")[2]
    refused = shared_service.run("serve", PORT=port, DATA_DIR="other")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"Cannot listen on 127.0.0.1:{port} (address already in use); "
        "stop what listens there, or set PORT to another one."
    ]
    assert not (shared_service.folder / "other").exists()


def test_a_wrong_setting_stops_the_start_with_one_line(shared_service: Service) -> None:
    refused = shared_service.run("serve", PORT="eighty")
    assert (refused.returncode, refused.stdout) == (2, "")
    [line] = refused.stderr.splitlines()
    assert line.startswith('PORT="eighty" must be ')


def test_an_unusable_log_directory_stops_the_start_with_one_line(shared_service: Service) -> None:
    refused = shared_service.run("serve", LOG_DIR="/proc/logs", DATA_DIR="other")
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("LOG_DIR=/proc/logs cannot be used (")
