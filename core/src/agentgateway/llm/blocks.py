"""Streams of blocks that follow each other: Anthropic's messages, Bedrock's Converse, Gemini's parts."""

from __future__ import annotations

from agentgateway.llm.chat import Delta, Ended, ErrorFacts, Failed, PartEnded, PartStarted, Started
from agentgateway.llm.dialect import StreamEncoder


class BlockEncoder(StreamEncoder):
    """One block is open at a time: what belongs to another waits until the open one has ended. `_blocks` counts those
    that have, and is the number of the open one.

    A dialect says how a stream begins (`_start`) and ends (`_end`, `_error`), and how a block begins (`_opening`), goes
    on (`_piece`) and ends (`_closing`).
    """

    def __init__(self) -> None:
        self._over = False
        self._open: int | None = None
        self._blocks = 0
        self._waiting: dict[int, list[Delta]] = {}

    def feed(self, delta: Delta) -> bytes:
        if self._over:
            return b""
        match delta:
            case Started():
                return self._start(delta)
            case Ended():
                self._over = True
                return self._end(delta)
            case Failed():
                return self.fail(delta.facts)
        if self._open is not None and delta.index != self._open:
            self._waiting.setdefault(delta.index, []).append(delta)
            return b""
        out = self._write(delta)
        while self._open is None and self._waiting:
            out += b"".join(map(self._write, self._waiting.pop(next(iter(self._waiting)))))
        return out

    def end(self) -> bytes:
        return b""

    def fail(self, facts: ErrorFacts) -> bytes:
        if self._over:
            return b""
        self._over = True
        return self._error(facts)

    def _write(self, delta: Delta) -> bytes:
        match delta:
            case PartStarted():
                self._open = delta.index
                return self._opening(delta)
            case PartEnded():
                out = self._closing()
                self._open = None
                self._blocks += 1
                return out
            case _:
                return self._piece(delta)

    def _start(self, started: Started) -> bytes:
        raise NotImplementedError

    def _opening(self, part: PartStarted) -> bytes:
        raise NotImplementedError

    def _piece(self, delta: Delta) -> bytes:
        raise NotImplementedError

    def _closing(self) -> bytes:
        raise NotImplementedError

    def _end(self, ended: Ended) -> bytes:
        raise NotImplementedError

    def _error(self, facts: ErrorFacts) -> bytes:
        raise NotImplementedError
