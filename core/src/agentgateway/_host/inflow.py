"""What a connection reads, with somebody to ask first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import SupportsIndex


def _nobody(data: bytes) -> bool:
    return False


class Inflow(asyncio.StreamReader):
    """A reader whose bytes may be taken as they come: those that `take` says yes to are not there to be read."""

    take: Callable[[bytes], bool] = staticmethod(_nobody)

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        if not (isinstance(data, bytes) and self.take(data)):
            super().feed_data(data)
