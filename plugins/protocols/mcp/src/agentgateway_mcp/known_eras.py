"""Which versions a server speaks: those with sessions, the one without, or both. Found out when it is first asked.

A server that speaks the version without sessions answers `server/discover`, which it must (specification 2026-07-28,
"Discovery"); one that does not refuses it in one of many ways.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic_core import from_json

from agentgateway_mcp.errors import HEADER_MISMATCH, INVALID_PARAMS, METHOD_NOT_FOUND, UNSUPPORTED_VERSION
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.servers import Answer

Era = Literal["auto", "sessions", "stateless"]
REMEMBERED = 600.0
"""Seconds for which it is remembered that a server does not speak something: it may learn it."""
REFUSING = frozenset((400, 404, 405, 406, 415, 426))
"""Statuses of servers that a request of another era is nothing to."""
PASSING = frozenset((401, 403, 407, 408, 425, 429))
"""Statuses that say nothing of versions."""
LACKS_CAPABILITY = -32021
UNDERSTOOD = frozenset((INVALID_PARAMS, HEADER_MISMATCH, LACKS_CAPABILITY, METHOD_NOT_FOUND))
"""Codes by which a server that does speak the version without sessions says what is wrong with a request."""


class Known:
    """What is known of one server. `stateless` and `sessions` say whether it speaks such a version, None where that is
    to be found out. An era of the configuration stands."""

    def __init__(self, era: Era) -> None:
        self.fixed = era != "auto"
        self._stateless = {"auto": None, "sessions": False, "stateless": True}[era]
        self._sessions = {"auto": None, "sessions": True, "stateless": False}[era]
        self._until = 0.0

    @property
    def stateless(self) -> bool | None:
        return None if self._stateless is False and self._is_over() else self._stateless

    @property
    def sessions(self) -> bool | None:
        return None if self._sessions is False and self._is_over() else self._sessions

    def found(self, *, stateless: bool | None = None, sessions: bool | None = None) -> None:
        if self.fixed:
            return
        self._stateless = self._stateless if stateless is None else stateless
        self._sessions = self._sessions if sessions is None else sessions
        if stateless is False or sessions is False:
            self._until = time.monotonic() + REMEMBERED

    def forget(self) -> None:
        """It does not do any more what it did."""
        if not self.fixed:
            self._stateless = self._sessions = None

    def _is_over(self) -> bool:
        return not self.fixed and time.monotonic() >= self._until


def is_discovery(document: dict[str, Any] | None) -> bool:
    """Whether a response to `server/discover` says that the version without sessions is spoken."""
    result = document.get("result") if document is not None else None
    versions = result.get("supportedVersions") if isinstance(result, dict) else None
    return isinstance(versions, list) and MODERN in versions


def is_named(document: dict[str, Any] | None) -> bool:
    """Whether an error says that the version without sessions is spoken, only not just now."""
    error = document.get("error") if document is not None else None
    data = error.get("data") if isinstance(error, dict) and error.get("code") == UNSUPPORTED_VERSION else None
    supported = data.get("supported") if isinstance(data, dict) else None
    return isinstance(supported, list) and MODERN in supported


def says_nothing(status: int) -> bool:
    """Whether an answer is about something else: who asks, how often, or a server that is out of order."""
    return status in PASSING or status >= 500


def says_expired(answer: Answer) -> bool:
    """Whether a server knows a session no more (specification 2025-11-25, "Session Management"). One that answers with
    the status of 2026-07-28 to a method that it does not have does know it."""
    return answer.status == 404 and error_code(answer) != METHOD_NOT_FOUND


def may_refuse(answer: Answer) -> bool:
    """Whether an answer may be that of a server that does not know the version it was asked in."""
    if answer.status == 200:
        return answer.whole is not None and b'"error"' in answer.whole and error_code(answer) == UNSUPPORTED_VERSION
    return answer.status in REFUSING and error_code(answer) not in UNDERSTOOD


def error_code(answer: Answer) -> int | None:
    """The code of the JSON-RPC error that an answer is; None for anything else."""
    try:
        document = from_json(answer.whole or b"")
    except ValueError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else None
