"""From a document to a served process: one, or several behind a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from agentgateway._host.config import StaticConfig
from agentgateway._host.load import Document, validate
from agentgateway._host.messages import set_up_logging
from agentgateway._host.runtime import Runtime
from agentgateway._host.server import Server, serve
from agentgateway._host.sockets import CannotListen, OwnSockets

logger = logging.getLogger("agentgateway.server")


def serve_document(file: str, document: Document, environ: Mapping[str, str]) -> int:
    """Serve until told to stop; the exit code. Raises `ConfigError`."""
    settings = settings_of(document)
    set_up_logging(settings.logging.level, settings.logging.format == "json")
    return run(serve_alone(file, document, environ))


def settings_of(document: Document) -> StaticConfig:
    """`config`, before anything else of the file is read. Raises `ConfigError`."""
    return validate(StaticConfig, document.data.get("config") or {}, document, ("config",))


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where it is installed (the extra `fast`), else on asyncio's own loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def serve_alone(file: str, document: Document, environ: Mapping[str, str]) -> int:
    """One process does everything."""
    runtime = Runtime(file, document, environ)
    shutdown = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if shutdown.is_set():
            sys.exit(1)
        shutdown.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await runtime.start()
    try:
        sockets = OwnSockets(ipv6=runtime.gateway.settings.enable_ipv6)
        await serve(runtime, sockets, shutdown=shutdown, started=ready)
    except CannotListen as error:
        logger.error("%s", error)
        return 1
    finally:
        await runtime.stop()
    return 0


def ready(server: Server) -> None:
    logger.info("ready")
