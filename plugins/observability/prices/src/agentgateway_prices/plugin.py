"""The catalogue `genai-prices`: made by a short-lived process, kept in a file for the ones that start after it.

Importing genai-prices takes a second of CPU and some 95 MB for good, so that the gateway's own process never does.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from agentgateway.interfaces import Catalog
from agentgateway_prices.store import Store


class GenaiPrices(Catalog):
    """The prices of genai-prices' offline data."""

    async def read(self) -> bytes:
        kept = await asyncio.to_thread(Store().read)
        return kept if kept is not None else await exported()


async def exported() -> bytes:
    """What `python -m agentgateway_prices` prints; it also keeps it. Raises RuntimeError when that fails."""
    program = (sys.executable, "-P", "-m", "agentgateway_prices")  # -P: nothing is imported from the working directory
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*program, stdin=null, stdout=pipe, stderr=pipe)
    try:
        out, errors = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeError(f"the export ended with {process.returncode}: {lines[-1] if lines else 'no word'}")
    if not out:
        raise RuntimeError("the export was empty")
    return out
