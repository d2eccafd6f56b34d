"""What is read of the files that the project is built and deployed by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = {"api", "projector", "scheduler"}


def load(path: str) -> Any:
    """A file of YAML, by its path in the project."""
    return yaml.safe_load((ROOT / path).read_text())
