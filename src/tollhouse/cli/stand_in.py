"""A command that is imported when it is asked for.

The server takes a second to import, and `tollhouse --help` or `tollhouse jobs list` need nothing of it. So the list of
commands is one of stand-ins, each with its place and its line of help, and importing waits for the one that was typed.
"""

import importlib
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True)
class Place:
    """Where a command or a group of them is: a module of this package, a name in it, and what the list of commands says of it."""

    module: str
    name: str
    help: str


class StandIn(TyperCommand):
    """One line in the list of commands."""

    def __init__(self, name: str, place: Place) -> None:
        super().__init__(name, help=place.help)
        self._typed, self._place = name, place

    def command(self) -> Any:
        """The command itself."""
        found = getattr(importlib.import_module(f"{__package__}.{self._place.module}"), self._place.name)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False)
        alone.command(self._typed)(found)
        return get_command(alone)


class Commands(TyperGroup):
    """A group whose stand-ins step aside once one of them is chosen."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, its name, and the arguments left for it."""
        name, chosen, rest = super().resolve_command(ctx, args)
        return name, chosen.command() if isinstance(chosen, StandIn) else chosen, rest


def group_of(places: dict[str, Place]) -> type[TyperGroup]:
    """The class of a group that has these commands, by name."""

    class Placed(Commands):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = {**self.commands, **{name: StandIn(name, place) for name, place in places.items()}}

    return Placed
