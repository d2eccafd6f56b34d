"""How settings are told, right or wrong."""

from __future__ import annotations

import pytest

from infrastructure.settings import Settings, WrongSetting, in_force, load


def problems(**environ: str) -> list[str]:
    """The lines that refuse these settings."""
    with pytest.raises(WrongSetting) as caught:
        load(environ)
    assert str(caught.value).splitlines() == list(caught.value.lines)
    return list(caught.value.lines)


def value_and_source(settings: Settings, variable: str) -> tuple[str, str]:
    """A setting as it is shown, and where it is from."""
    return next((value, source) for name, value, source in in_force(settings) if name == variable)
