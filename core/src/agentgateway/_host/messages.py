"""What the process has to say, on standard error: lines of text, or of JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable

from agentgateway._host.access_log import LINES, SENSITIVE

NOISY = ("httpx", "httpcore", "watchfiles", "asyncio", "stevedore")


def set_up_logging(level: str, json_lines: bool, sensitive: Iterable[str] = ()) -> None:
    """Messages go to standard error; the access log, to standard output, takes the same form."""
    LINES.json = json_lines
    LINES.sensitive = SENSITIVE | {name.encode() for name in sensitive}
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if json_lines else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "scope": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)
