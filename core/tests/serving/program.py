"""A gateway of several processes, as a program: program.py WORKERS CONFIG-JSON. Answers say which process gave them.

Besides `config` the JSON may have: `ports`; `fail`, from which worker on they end at once; `unborn`, which workers the
system has no process for.
"""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agentgateway._host.admin_ports import set_level
from agentgateway._host.config import HttpFrontend
from agentgateway._host.forking import Work, Worker, fork
from agentgateway._host.sockets import CannotListen
from agentgateway._host.static_config import StaticConfig
from agentgateway._host.worker import WorkerContext
from agentgateway._host.workers import Supervisor
from agentgateway.exchange import Exchange, Reply


def fakes() -> Any:
    spec = importlib.util.spec_from_file_location("fakes", Path(__file__).with_name("conftest.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules["fakes"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def slowly(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"%d\n" % number
        await asyncio.sleep(0.02)


async def answer(exchange: Exchange) -> Reply:
    path = exchange.request.path
    if path == "/crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/stream":
        return Reply(200, body=slowly(int(exchange.request.query)))
    if path == "/sleep":
        await asyncio.sleep(float(exchange.request.query))
    return Reply.text(200, str(os.getpid()))


def main() -> int:
    settings = json.loads(sys.argv[2])
    ports = settings.pop("ports", [0])
    fail = settings.pop("fail", 1000)
    unborn = settings.pop("unborn", [])
    static = StaticConfig(**settings)
    given = fakes()

    async def serve(context: WorkerContext) -> int:
        binds = {port: given.bind_of(answer, port) for port in ports}
        runtime = given.FakeRuntime(given.FakeGateway(binds, static, HttpFrontend()))
        runtime.metrics.counter("agentgateway_born_total", "Workers born.").add(())
        hooks = given.Hooks(answer)
        assert context.folder.stat().st_mode & 0o777 == 0o700 and hooks
        try:
            await context.serve(runtime, set_level)
        except CannotListen as error:
            logging.error("%s", error)
            return 1
        return 0

    def work(context: WorkerContext) -> int:
        logging.info("worker %d", os.getpid())
        return 3 if context.number >= fail else asyncio.run(serve(context))

    def make(work: Work, number: int, place: int, folder: Path) -> Worker:
        if number in unborn:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork(work, number, place, folder)

    return Supervisor(static.processes, work, static, make).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sys.exit(main())
