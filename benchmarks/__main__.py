"""`make benchmark`: the real service, its processes and its Postgres, beside what this machine could do.

Absolute figures move with the machine and its neighbours; compare ratios, and runs on one machine. The table
is on stdout, progress on stderr, and every run is kept under build/benchmarks/. The exit code is 1 when a
figure has become worse than in the last run beyond noise, and 2 when a scenario could not be run.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks import plot, processes, report, runs
from benchmarks.figures import Findings, merged
from benchmarks.progress import Progress
from benchmarks.runs import Run
from benchmarks.scenarios import SCENARIOS
from benchmarks.stage import Stage, machine

REGRESSION, FAILURE, INTERRUPTED = 1, 2, 130


def main() -> int:
    """Run the chosen scenarios and tell what came of each."""
    # As Ctrl-C does: leave no process behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="chronoledger-benchmark-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with processes.postgres_server() as server, processes.sink() as sink:
            stage = Stage(server, sink, folder, options.scale, Progress())
            described = machine(server)
            print(", ".join(f"{name}: {value}" for name, value in described.items()))
            return _run_all(stage, options.scenario, options.repeat, described)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_all(stage: Stage, names: Sequence[str], repeat: int, described: dict[str, str]) -> int:
    worse: list[str] = []
    failed = []
    for name in names:
        try:
            worse += _run(stage, name, repeat, described)
        except Exception:  # the other scenarios of a long run are worth having
            traceback.print_exc()
            failed.append(name)
    for line in (*worse, *(f"failed: {name}, see above" for name in failed)):
        print(line, flush=True)
    if failed:
        return FAILURE
    return REGRESSION if worse else 0


def _run(stage: Stage, name: str, repeat: int, described: dict[str, str]) -> list[str]:
    """Run a scenario, store and show it; its regressions."""
    repetitions: list[Findings] = []
    for number in range(1, repeat + 1):
        stage.progress.step(f"{name}, {number} of {repeat}" if repeat > 1 else name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            repetitions.append(runner.run(SCENARIOS[name](stage)))
    last = runs.last_figures(name, stage.scale)
    findings = merged(repetitions)
    run = Run(
        scenario=name,
        scale=stage.scale,
        repeat=repeat,
        at=datetime.now(UTC),
        machine=described,
        findings=findings,
    )
    path = runs.store(run)
    print(f"\n{name} (scale {stage.scale:g}, {path})\n{report.table(findings.figures, last)}", flush=True)
    plot.draw(findings.charts, path.with_suffix(".png"))
    return report.regressions(findings.figures, last)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make benchmark", description=__doc__)
    parser.add_argument(
        "--scenario",
        type=_scenarios,
        default=tuple(SCENARIOS),
        help=f"one or several of {','.join(SCENARIOS)}; all of them when left out",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 makes everything ten times smaller")
    parser.add_argument("--repeat", type=int, default=1, help="how often; medians are shown")
    options = parser.parse_args()
    if options.scale <= 0 or options.repeat < 1:
        parser.error("--scale must be more than 0 and --repeat at least 1")
    return options


def _scenarios(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(SCENARIOS)}")
    return names or tuple(SCENARIOS)


if __name__ == "__main__":
    sys.exit(main())
