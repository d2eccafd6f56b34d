"""`chronoledger --help`: the commands by what they are for, and not by their first letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTIONS = {
    "Run": ("serve", "api", "projector", "scheduler"),
    "Ask and change": ("explain", "tasks", "simulate", "seed"),
    "Check and mend": ("check", "rebuild", "replay", "verify"),
    "Keep and carry": ("archive", "export", "import"),
    "Set up": ("migrate", "config", "openapi"),
}
OTHERS = "Others"
# As long as the first sentence of a command may be: wrapped, and not cut off.
SENTENCE = 200


class Sections(click.Group):
    """A group that shows its commands under headings; those of no section come last."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Group`."""
        for title, names in self._sections():
            with formatter.section(title):
                formatter.write_dl(
                    [(name, self.commands[name].get_short_help_str(SENTENCE)) for name in names]
                )

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        known = {name for names in SECTIONS.values() for name in names}
        for title, wanted in {**SECTIONS, OTHERS: sorted(self.commands.keys() - known)}.items():
            if names := [name for name in wanted if name in self.commands]:
                yield title, names
