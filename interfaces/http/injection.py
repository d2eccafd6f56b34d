"""How handlers name what they are given."""

from __future__ import annotations

from typing import TypeVar

from litestar.di import NamedDependency
from litestar.params import SkipValidation

T = TypeVar("T")

# Given by the application itself, or validated where it was made: not to be validated again on every request.
Injected = NamedDependency[SkipValidation[T]]
