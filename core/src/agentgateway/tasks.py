"""Tasks, for code that may run without one.

On HTTP/1.1 a request whose participants promise to be `inline` runs in the callbacks of its connections. Waiting for a
future moves it into a task by itself; `asyncio.timeout`, task groups and libraries built on them want one before.
"""

from __future__ import annotations

import asyncio


async def in_a_task() -> None:
    """From here on the caller runs in a task, if it did not before."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
