"""One limit: its rule, its buckets, and whose bucket a request draws from."""

import hashlib
from dataclasses import dataclass
from math import ceil

from agentgateway.errors import Forbidden, RateLimited
from agentgateway.exchange import Exchange
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.interfaces import Bucket, Buckets, Taken

LIMIT, REMAINING, RESET = "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"
ROUNDING = 0.001
"""What the time until the next fill, in seconds, may be off by: it is told in whole ones, at least one."""
LONG = 64
"""Characters above which a key is remembered by its digest."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`name` is for messages: `localRateLimit[0]`; `header` tells clients the rule."""

    name: str
    rule: Bucket
    buckets: Buckets
    key: Expression | None
    header: tuple[str, str]

    def take(self, exchange: Exchange) -> Taken:
        """Take one from the bucket that this request draws from."""
        return self.buckets.take("" if self.key is None else self.owner(exchange), self.rule)

    def owner(self, exchange: Exchange) -> str:
        """The key of the bucket. Raises `Forbidden` when the expression gives none, because nothing would limit it."""
        if self.key is None:
            return ""
        try:
            value = self.key.value(exchange)
        except ExpressionError as error:
            raise Forbidden(detail=f"{self.name}: its key cannot be computed: {type(error).__name__}") from error
        return value if type(value) is str and len(value) <= LONG else self._text(value)

    def _text(self, value: object) -> str:
        """The key, when it is not a short text already."""
        if not isinstance(value, str | int | float | bytes):
            raise Forbidden(detail=f"{self.name}: its key is neither text nor a number but {type(value).__name__}")
        text = value.hex() if isinstance(value, bytes) else str(value)
        return text if len(text) <= LONG else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def report(exchange: Exchange, limit: Limit, taken: Taken) -> None:
    """Tell the client how much is left of a limit. Where several policies limit, the first has told it already,
    unless this one refuses. Raises `RateLimited` when it does."""
    allowed, remaining, reset = taken
    seconds = str(ceil(reset - ROUNDING) or 1)
    told = exchange.reply_headers
    if not (allowed and told and any(name == LIMIT for name, _ in told)):
        told.extend((limit.header, (REMAINING, str(remaining)), (RESET, seconds)))
    if not allowed:
        raise RateLimited(detail=limit.name, headers=[("retry-after", seconds)])


def left(taken: Taken) -> tuple[bool, int]:
    """What an outcome leaves; the tightest of several limits is the one that leaves least, a refusal before all."""
    return taken[:2]
