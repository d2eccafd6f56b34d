"""Runs on disk: one JSON file a scenario and run, under `build/benchmarks/`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.figures import Figure, Findings

FOLDER = Path("build/benchmarks")


class Run(Struct, frozen=True, kw_only=True):
    """Figures are comparable between runs of one scenario at one scale."""

    scenario: str
    scale: float
    repeat: int
    at: datetime
    machine: dict[str, str]
    findings: Findings

    @property
    def stem(self) -> str:
        """The name of its files; names sort by time."""
        return f"{self.scenario}-{self.at:%Y%m%dT%H%M%S%fZ}"

    def by_name(self) -> dict[str, Figure]:
        """Its figures."""
        return {figure.name: figure for figure in self.findings.figures}


def store(run: Run, folder: Path = FOLDER) -> Path:
    """Write a run and answer where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.stem}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    return path


def last_figures(scenario: str, scale: float, folder: Path = FOLDER) -> Mapping[str, Figure]:
    """The figures of the latest run of a scenario at a scale, by name; empty when there is none.

    Files of another release, which cannot be read any more, are passed over.
    """
    for path in sorted(folder.glob(f"{scenario}-*.json"), reverse=True):
        try:
            run = msgspec.json.decode(path.read_bytes(), type=Run)
        except msgspec.DecodeError:
            continue
        if run.scale == scale:
            return run.by_name()
    return {}
