"""The ends of evictions, which the worker processes of one machine share: who is left alone by one is so by all.

A file of eight bytes for each endpoint, mapped by every worker. A double at the start of a page is written and read
whole, so nothing is locked; of two evictions at once the later write counts. Times are CLOCK_MONOTONIC, one clock for
all of the machine.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import MutableSequence
from hashlib import blake2b
from pathlib import Path
from typing import cast

SIZE = 8


class SharedEvictions:
    """Ends of evictions in files of `folder`, by endpoint."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cells: dict[str, MutableSequence[float]] = {}

    def cell(self, endpoint: str) -> MutableSequence[float]:
        """One number, 0 at first: the monotonic time until which the endpoint of that name is evicted."""
        found = self._cells.get(endpoint)
        if found is None:
            found = self._cells[endpoint] = self._mapped(endpoint)
        return found

    def _mapped(self, endpoint: str) -> MutableSequence[float]:
        path = self._folder / f"{blake2b(endpoint.encode(), digest_size=16).hexdigest()}.evicted"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(file, SIZE)  # which keeps what another worker wrote
            return cast(MutableSequence[float], memoryview(mmap.mmap(file, SIZE)).cast("d"))
        finally:
            os.close(file)
