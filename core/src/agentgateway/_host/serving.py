"""From a document to a served process: one, or several behind a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from agentgateway._host.admin_ports import AdminPorts, OwnView, set_level
from agentgateway._host.config import Root
from agentgateway._host.load import Document, read, validate
from agentgateway._host.messages import set_up_logging
from agentgateway._host.runtime import Runtime
from agentgateway._host.server import Server, serve
from agentgateway._host.sockets import CannotListen, OwnSockets
from agentgateway._host.static_config import StaticConfig
from agentgateway._host.worker import WorkerContext
from agentgateway._host.workers import Supervisor
from agentgateway.errors import ConfigError

logger = logging.getLogger("agentgateway.server")

YOUNG = 10_000
"""How many objects more than before make the collector look for cycles among them. Requests leave none, but those in
flight at once are more than CPython's 700, so that it looked at all of them time and again: a twentieth of the CPU."""
OLDER = 20
"""Looks among the young before the older ones are looked at, and of those before all."""


def serve_document(file: str, document: Document, environ: Mapping[str, str]) -> int:
    """Serve until told to stop; the exit code. Raises `ConfigError`."""
    settings = settings_of(document)
    set_up_logging(settings.logging.level, settings.logging.format == "json", settings.sensitive_headers)
    try:
        if settings.processes == 1:
            return run(alone(Runtime(file, document, environ, settings), settings))
        return several(file, document, environ, settings)
    except CannotListen as error:
        logger.error("%s", error)
        return 1


def settings_of(document: Document) -> StaticConfig:
    """`config` of a document whose fixed part is right as a whole. Raises `ConfigError`."""
    return validate(Root, document.data, document).config


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where it is installed (the extra `fast`), else on asyncio's own loop."""
    gc.set_threshold(YOUNG, OLDER, OLDER)
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def alone(runtime: Runtime, settings: StaticConfig) -> int:
    """One process does everything. Raises `CannotListen`, `ConfigError`."""
    ports = AdminPorts(settings)
    ports.open()
    shutdown = on_signals()
    on_hang_up(runtime.ask_to_reload, shutdown.set)

    def started(server: Server) -> None:
        logger.info("ready")
        ports.serve(OwnView(runtime), aside=True)

    await runtime.start()
    try:
        await serve(runtime, OwnSockets(ipv6=settings.enable_ipv6), shutdown=shutdown, started=started)
    finally:
        await runtime.stop()
        await ports.close()
    return 0


def on_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process at once."""
    shutdown = asyncio.Event()

    def stop() -> None:
        if shutdown.is_set():
            sys.exit(1)
        shutdown.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return shutdown


def on_hang_up(reload: Callable[[], None], end: Callable[[], None]) -> None:
    """SIGHUP reloads; but it ends a process whose terminal is gone, as nobody can stop it any more."""
    had_terminal = os.isatty(0)

    def hang_up() -> None:
        if had_terminal and not os.isatty(0):
            end()
        else:
            reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)


def several(file: str, document: Document, environ: Mapping[str, str], settings: StaticConfig) -> int:
    """Workers behind a supervisor. The configuration is compiled here once, to be refused before anything is forked."""
    Runtime(file, document, environ, settings)

    def work(context: WorkerContext) -> int:
        try:
            now = document if file == "-" else read(file, environ=environ)  # it may have changed since
            return run(as_worker(context, Runtime(file, now, environ, settings, context.folder, context.number)))
        except (CannotListen, ConfigError) as error:
            logger.error("%s", error)
            return 1

    logger.info("starting %d workers", settings.processes)
    return Supervisor(settings.processes, work, settings).run()


async def as_worker(context: WorkerContext, runtime: Runtime) -> int:
    await runtime.start()
    try:
        await context.serve(runtime, set_level)
    finally:
        await runtime.stop()
    return 0
