"""Where CPU time is spent, by function, without slowing anything down: a look at the stack every millisecond.

cProfile adds a cost to each call and so blames small functions; a sample now and then blames what really ran.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

INTERVAL = 0.001


def sample(work: Callable[[], int], seconds: float) -> tuple[float, list[tuple[str, float, float]]]:
    """Repeat `work`, which says how many calls it made, for CPU `seconds`.

    Returns microseconds of a call, and by function: those in itself, and those with all it calls.
    """
    own: Counter[CodeType] = Counter()
    whole: Counter[CodeType] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        if frame is not None:
            own[frame.f_code] += 1
        met = set()
        while frame is not None:
            met.add(frame.f_code)
            frame = frame.f_back
        whole.update(met)

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    calls, began = 0, time.process_time()
    try:
        while time.process_time() - began < seconds:
            calls += work()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    us = (time.process_time() - began) / calls * 1e6
    each = us / max(1, own.total())
    return us, [(_name(code), own[code] * each, count * each) for code, count in whole.items()]


def _name(code: CodeType) -> str:
    return f"{Path(code.co_filename).name} {code.co_qualname}"
