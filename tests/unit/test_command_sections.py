"""What `chronoledger --help` lists, and in which order."""

from __future__ import annotations

import re

import click
from click.testing import CliRunner

from interfaces.cli.common import OTHERS, Sections
from interfaces.cli.main import cli


def listed(group: click.Group) -> list[str]:
    """Headings and commands as the help shows them."""
    told = CliRunner().invoke(group, ["--help"], prog_name="chronoledger")
    assert told.exit_code == 0, told.output
    _, _, sections = told.output.partition("Run:\n")
    return re.findall(r"^(?:  )?([A-Za-z][\w -]*?)(?::$|  )", "Run:\n" + sections, re.MULTILINE)


def test_every_command_has_a_place_of_its_own() -> None:
    found = [name for name in listed(cli) if name[0].islower()]
    assert sorted(found) == sorted(cli.commands)
    assert OTHERS not in listed(cli)


def test_what_has_no_place_comes_last() -> None:
    names = ("serve", "later", "config")
    group = Sections(commands=[click.Command(name, help="What it does.") for name in names])
    assert listed(group) == ["Run", "serve", "Set up", "config", OTHERS, "later"]
