"""One limit: its rule, its buckets, and whose bucket a request draws from."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from agentgateway.errors import Forbidden, RateLimited
from agentgateway.exchange import Exchange
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.interfaces import Bucket, Buckets, Taken

LIMIT = "x-ratelimit-limit"
LONG = 64
"""Characters above which a key is remembered by its digest."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`name` is for messages: `localRateLimit[0]`."""

    name: str
    rule: Bucket
    buckets: Buckets
    key: Expression | None

    def owner(self, exchange: Exchange) -> str:
        """The key of the bucket. Raises `Forbidden` when the expression gives none, because nothing would limit it."""
        if self.key is None:
            return ""
        try:
            value = self.key.value(exchange)
        except ExpressionError as error:
            raise Forbidden(detail=f"{self.name}: its key cannot be computed: {type(error).__name__}") from error
        if not isinstance(value, str | int | float | bytes):
            raise Forbidden(detail=f"{self.name}: its key is neither text nor a number but {type(value).__name__}")
        text = value.hex() if isinstance(value, bytes) else str(value)
        return text if len(text) <= LONG else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def report(exchange: Exchange, outcomes: Iterable[tuple[Limit, Taken]]) -> None:
    """Tell the client how much is left of the tightest limit. Where several policies limit, the first has told it
    already, unless this one refuses. Raises `RateLimited` when it does."""
    limit, taken = min(outcomes, key=lambda outcome: (outcome[1].allowed, outcome[1].remaining))
    if not taken.allowed or not any(name == LIMIT for name, _ in exchange.reply_headers):
        exchange.reply_headers += (
            (LIMIT, str(limit.rule.capacity)),
            ("x-ratelimit-remaining", str(taken.remaining)),
            ("x-ratelimit-reset", seconds(taken)),
        )
    if not taken.allowed:
        raise RateLimited(detail=limit.name, headers=[("retry-after", seconds(taken))])


def seconds(taken: Taken) -> str:
    """Whole seconds until the next fill, at least one, where a rounding error is none."""
    return str(max(1, ceil(taken.reset - 0.001)))
