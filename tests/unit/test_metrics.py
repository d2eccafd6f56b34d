import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infrastructure.metrics import CONTENT_TYPE, Instruments, StoredFigures, stored_figures

ROOT = Path(__file__).parents[2]

FIGURES = StoredFigures(
    executions={"succeeded": 4, "skipped": 1},
    attempts={"failed": 2},
    duration_buckets=[(0.1, 2), (1.0, 3), (math.inf, 5)],
    duration_sum=12.5,
    lateness_buckets=[(0.001, 0), (math.inf, 4)],
    lateness_sum=0.25,
    tasks={"scheduled": 9},
    log_position=100,
    sealed_position=92,
    projections={"tasks": (100, 0), "task_results": (90, 3)},
    nodes=2,
)


def samples(text: bytes) -> dict[str, float]:
    """Every sample by its name and labels; fails on a family or a sample that comes twice."""
    families = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in families}) == len(families)
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
        key = f"{sample.name}{{{labels}}}" if labels else sample.name
        assert key not in found
        found[key] = sample.value
    return found


def exercised() -> Instruments:
    instruments = Instruments()
    instruments.appended(accepted=3, refused=1, events=9, seconds=0.002)
    instruments.unavailable()
    instruments.projected("tasks", 5)
    instruments.parked("tasks", 1)
    instruments.claimed(2, 1)
    instruments.in_flight(4)
    instruments.held_back(6)
    instruments.claim_lead(0.25)
    instruments.indexed(7)
    instruments.task_stopped("gone")
    instruments.log_dropped(2)
    instruments.observe("GET", "/api/v1/tasks/{id}", 200, 0.003)
    return instruments


EXERCISED = {
    'chronoledger_event_appends_total{result="accepted"}': 3,
    'chronoledger_event_appends_total{result="refused"}': 1,
    'chronoledger_event_appends_total{result="unavailable"}': 1,
    "chronoledger_event_append_batch_size_sum": 4,
    'chronoledger_event_append_batch_size_bucket{le="2.0"}': 0,
    'chronoledger_event_append_batch_size_bucket{le="5.0"}': 1,
    "chronoledger_event_append_seconds_sum": 0.002,
    'chronoledger_projector_events_total{projection="tasks"}': 5,
    'chronoledger_projector_parked_total{projection="tasks"}': 1,
    'chronoledger_claims_total{result="won"}': 2,
    'chronoledger_claims_total{result="refused"}': 1,
    "chronoledger_in_flight_calls": 4,
    "chronoledger_held_back_calls": 6,
    "chronoledger_claim_lead_seconds": 0.25,
    "chronoledger_due_index_entries": 7,
    'chronoledger_tasks_stopped_total{reason="gone"}': 1,
    'chronoledger_tasks_stopped_total{reason="failures"}': 0,
    "chronoledger_task_log_dropped_total": 2,
    'chronoledger_http_requests_total{method="GET",route="/api/v1/tasks/{id}",status="200"}': 1,
    'chronoledger_http_request_seconds_count{method="GET",route="/api/v1/tasks/{id}"}': 1,
}


def test_all_that_was_measured_is_exposed() -> None:
    found = samples(exercised().exposition())
    assert {name: found[name] for name in EXERCISED} == EXERCISED
    assert "process_cpu_seconds_total" in found
    assert not [name for name in found if "_created" in name]


def test_what_may_happen_is_exposed_as_zero_before_it_does() -> None:
    found = samples(Instruments().exposition())
    for result in ("accepted", "refused", "unavailable"):
        assert found[f'chronoledger_event_appends_total{{result="{result}"}}'] == 0
    assert found["chronoledger_task_log_dropped_total"] == 0


def test_methods_that_nobody_knows_make_one_series() -> None:
    instruments = Instruments()
    for number in range(10):
        instruments.observe(f"BREW{number}", "unmatched", 405, 0.001)
    found = samples(instruments.exposition())
    assert found['chronoledger_http_requests_total{method="other",route="unmatched",status="405"}'] == 10


def test_stored_facts_are_exposed_beside_it() -> None:
    found = samples(exercised().exposition(stored_figures(FIGURES)))
    assert {
        name: value for name, value in found.items() if name in samples_of_figures()
    } == samples_of_figures()
    assert {name: found[name] for name in EXERCISED} == EXERCISED


def samples_of_figures() -> dict[str, float]:
    return {
        'chronoledger_executions_total{outcome="succeeded"}': 4,
        'chronoledger_executions_total{outcome="failed"}': 0,
        'chronoledger_executions_total{outcome="skipped"}': 1,
        'chronoledger_executions_total{outcome="cancelled"}': 0,
        'chronoledger_attempts_total{result="succeeded"}': 0,
        'chronoledger_attempts_total{result="failed"}': 2,
        'chronoledger_attempts_total{result="lost"}': 0,
        'chronoledger_execution_duration_seconds_bucket{le="0.1"}': 2,
        'chronoledger_execution_duration_seconds_bucket{le="1.0"}': 3,
        'chronoledger_execution_duration_seconds_bucket{le="+Inf"}': 5,
        "chronoledger_execution_duration_seconds_count": 5,
        "chronoledger_execution_duration_seconds_sum": 12.5,
        'chronoledger_execution_lateness_seconds_bucket{le="0.001"}': 0,
        'chronoledger_execution_lateness_seconds_bucket{le="+Inf"}': 4,
        "chronoledger_execution_lateness_seconds_count": 4,
        "chronoledger_execution_lateness_seconds_sum": 0.25,
        'chronoledger_tasks{status="scheduled"}': 9,
        'chronoledger_tasks{status="cancelled"}': 0,
        "chronoledger_event_log_position": 100,
        "chronoledger_sealed_position": 92,
        "chronoledger_unsealed_events": 8,
        'chronoledger_projection_position{projection="task_results"}': 90,
        'chronoledger_projection_lag_events{projection="tasks"}': 0,
        'chronoledger_projection_lag_events{projection="task_results"}': 10,
        'chronoledger_projector_parked_events{projection="task_results"}': 3,
        "chronoledger_scheduler_nodes": 2,
    }


def test_buckets_without_infinity_are_refused() -> None:
    with pytest.raises(ValueError, match="must be that of infinity"):
        stored_figures(
            StoredFigures(
                executions={},
                attempts={},
                duration_buckets=[(0.1, 2)],
                duration_sum=1,
                lateness_buckets=[],
                lateness_sum=0,
                tasks={},
                log_position=0,
                sealed_position=0,
                projections={},
                nodes=0,
            )
        )


# A parent that prepares, and children that measure at the same time; the parent exposes.
FAMILY = """
import subprocess, sys
from pathlib import Path
from infrastructure.metrics import Instruments, forget_process, prepare_multiprocess
CHILD = '''
import sys
from tests.unit.test_metrics import exercised
instruments = exercised()
instruments.observe("POST", "/" + "long" * 50 + sys.argv[1], 201, 1.0)
print("measured", flush=True)
sys.stdin.read()
'''
directory = Path(sys.argv[1])
prepare_multiprocess(directory)
children = [
    subprocess.Popen([sys.executable, "-c", CHILD, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for n in range(3)
]
instruments = Instruments()
for child in children:
    assert child.stdout.readline() == b"measured\\n"
(directory / "counter_999999999.db").touch()  # left by one that was killed at once
def expose(name):
    (directory / name).write_bytes(instruments.exposition())
expose("alive.txt")
children[0].kill()
children[0].wait()
forget_process(children[0].pid)
expose("one-dead.txt")
for child in children[1:]:
    child.stdin.close()
    child.wait()
"""


def family(directory: Path) -> tuple[dict[str, float], dict[str, float]]:
    environ = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    subprocess.run(
        [sys.executable, "-c", FAMILY, str(directory)], cwd=ROOT, env=environ, check=True, timeout=120
    )
    alive, one_dead = ((directory / name).read_bytes() for name in ("alive.txt", "one-dead.txt"))
    return samples(alive), samples(one_dead)


def test_processes_that_measure_together_are_summed_up(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").write_bytes(b"left by an earlier run")
    alive, one_dead = family(tmp_path)
    assert {name: alive[name] for name in EXERCISED} == {
        name: pytest.approx(3 * value) for name, value in EXERCISED.items()
    }
    gauges = (
        "chronoledger_in_flight_calls",
        "chronoledger_held_back_calls",
        "chronoledger_claim_lead_seconds",
        "chronoledger_due_index_entries",
    )
    assert {name: one_dead[name] for name in EXERCISED} == {
        name: pytest.approx((2 if name in gauges else 3) * value) for name, value in EXERCISED.items()
    }


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot claim disk space ahead")
def test_shared_files_have_their_disk_space_from_the_start(tmp_path: Path) -> None:
    family(tmp_path)
    sizes = [file.stat() for file in tmp_path.glob("*.db") if file.name != "counter_999999999.db"]
    assert len(sizes) == 3 * 4 - 1  # the parent's and the children's, but for the dead one's gauges
    living = [size for size in sizes if size.st_size >= 1_048_576]
    assert len(living) == 3 * 3
    assert all(size.st_blocks * 512 >= size.st_size for size in living)


def test_a_dead_process_keeps_no_room_that_it_does_not_use(tmp_path: Path) -> None:
    family(tmp_path)
    sizes = sorted(file.stat().st_size for file in tmp_path.glob("*.db"))
    unborn, *dead = sizes[:3]
    assert unborn == 0
    assert all(0 < size < 20_000 for size in dead)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_exposition() -> None:
    text = exercised().exposition(stored_figures(FIGURES))
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_content_type_is_that_of_the_text_format() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
