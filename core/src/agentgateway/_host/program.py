"""The command line as a whole: the core's own commands, and those of plugins, imported when they are named."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click

from agentgateway.commands import Failure, Gateways, OpenGateway
from agentgateway.errors import ConfigError

GROUP = "agentgateway.commands"


class Program(click.Group):
    """The command `agentgateway`. A standard output that takes nothing is told in one line."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if not written_by_click(error):
                raise
            click.echo(f"error: cannot write to standard output: {error.strerror}", err=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries again, and complains
            sys.exit(1)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except ConfigError as error:
            raise Failure(str(error)) from error

    def list_commands(self, context: click.Context) -> list[str]:
        from agentgateway._host.registry import names

        return sorted({*super().list_commands(context), *names(GROUP)})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The core's own, or a plugin's; one that cannot be loaded says so when it is called."""
        from agentgateway._host.registry import load, names

        own = super().get_command(context, name)
        if own is not None or name not in names(GROUP):
            return own
        try:
            found: click.Command = load(GROUP, name)
        except ConfigError as error:
            return broken(name, error)
        return found


def broken(name: str, error: ConfigError) -> click.Command:
    def fail() -> None:
        raise error

    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    return click.Command(name, settings, fail, short_help="(cannot be loaded)")


def written_by_click(error: OSError) -> bool:
    """Whether it is what click meant to print that did not go out."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__") == "click.utils"


class OwnGateways(Gateways):
    """Gateways as `agentgateway -f FILE` would compile them."""

    @asynccontextmanager
    async def open(self, file: str) -> AsyncIterator[OpenGateway]:
        from agentgateway._host.load import ENVIRON, read
        from agentgateway._host.runtime import Runtime
        from agentgateway._host.serving import settings_of

        document = read(file)
        runtime = Runtime(None, document, ENVIRON, settings_of(document))
        try:
            await runtime.open()
            yield OpenGateway(runtime.gateway.targets)
        finally:
            await runtime.stop()
