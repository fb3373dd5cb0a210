"""The commands under one name."""

from __future__ import annotations

import click

from trunkline.cli.chat import chat
from trunkline.cli.connect import connect
from trunkline.cli.doctor import doctor
from trunkline.version import __version__

__all__ = ["trunkline"]


class URLMeansConnect(click.Group):
    """A group of commands that takes ``trunkline ws://...`` for ``trunkline connect ws://...``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and any("://" in arg for arg in args):
            args = ["connect", *args]
        return super().parse_args(ctx, args)


@click.group(cls=URLMeansConnect)
@click.version_option(__version__, prog_name="trunkline")
def trunkline() -> None:
    """WebSockets from the command line.

    With a URL alone, "trunkline ws://HOST" is "trunkline connect ws://HOST".
    """


trunkline.add_command(chat)
trunkline.add_command(connect)
trunkline.add_command(doctor)
