"""Where CPU time is spent, by function, without slowing anything down: a look at the stack every millisecond.

cProfile adds a cost to each call and so blames small functions; a sample now and then blames what really ran.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

INTERVAL = 0.001


class Share(NamedTuple):
    """A function, and the seconds of CPU spent in itself and in all it called."""

    function: str
    own: float
    whole: float


class Sampler:
    """Samples the main thread between `start` and `stop`, once each."""

    def __init__(self) -> None:
        self._own: Counter[CodeType] = Counter()
        self._whole: Counter[CodeType] = Counter()
        self._began = 0.0
        self._handler: Any = None
        self.seconds = 0.0

    def start(self) -> None:
        self._handler = signal.signal(signal.SIGPROF, self._look)
        self._began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def stop(self) -> list[Share]:
        """What was found, the costliest function first."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.seconds = time.process_time() - self._began
        signal.signal(signal.SIGPROF, self._handler)
        each = self.seconds / max(1, self._own.total())
        found = [Share(_name(code), self._own[code] * each, count * each) for code, count in self._whole.items()]
        return sorted(found, key=lambda share: -share.own)

    def _look(self, _: int, frame: FrameType | None) -> None:
        if frame is not None:
            self._own[frame.f_code] += 1
        met = set()
        while frame is not None:
            met.add(frame.f_code)
            frame = frame.f_back
        self._whole.update(met)


def table(shares: list[Share], calls: int, rows: int) -> list[str]:
    """Microseconds a call, as lines."""
    lines = []
    for share in shares[:rows]:
        own, whole = share.own / calls * 1e6, share.whole / calls * 1e6
        lines.append(f"{own:8.2f} µs {whole:8.2f} µs  {share.function}")
    return lines


def _name(code: CodeType) -> str:
    file = Path(code.co_filename)
    return f"{file.parent.name}/{file.name} {code.co_qualname}"
