"""The guard itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from agentgateway.errors import GuardFailed
from agentgateway.exchange import Exchange
from agentgateway.expressions import ExpressionError
from agentgateway.interfaces import PASS, Guard, Host, Segment, Verdict
from agentgateway_guardrail_webhook.config import FRAMING, HeaderMatch, WebhookConfig
from agentgateway_guardrail_webhook.wire import question, verdict

if TYPE_CHECKING:
    import httpx


class WebhookGuard(Guard):
    """Asks a web service whether texts may pass, be masked or be refused."""

    Config = WebhookConfig
    stream = "hold-all"

    def __init__(self, config: WebhookConfig, host: Host) -> None:
        super().__init__(config, host)
        self.scopes = frozenset(config.scope)
        self.fails_open = config.failure_mode == "failOpen"
        self._headers = {name: host.expression(source) for name, source in config.headers.items()}
        self._forwarded = matchers(config.forward_header_matches)
        self._url = f"{config.target}/{self.phase}"
        self._limit = 2 * host.body_limit  # as much as was shown, with every character escaped
        self._client: httpx.AsyncClient | None = None

    async def start(self) -> None:
        from agentgateway_guardrail_webhook import asking  # httpx takes 100 ms, before the first request

        self._ask = asking.answered
        self._client = self.host.client()

    async def check(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict:
        """Raises `GuardFailed` when there is no reply, or one that is malformed."""
        if not segments:
            return PASS
        if self._client is None:
            raise GuardFailed(detail="the guard was not started")
        method, url, headers = self._head(exchange)
        body = question(segments, self.phase)
        answer = await self._ask(self._client, method, url, headers, body, self._limit)
        return verdict(answer, segments, self.phase)

    def _head(self, exchange: Exchange) -> tuple[str, str, list[tuple[bytes, bytes]]]:
        """The method, the URL and the headers of a question about that exchange."""
        own = {name: said(name, expression, exchange) for name, expression in self._headers.items()}
        method, url = own.pop(":method", "POST"), self._url
        if (path := own.pop(":path", None)) is not None:
            url = at_path(url, path)
        if (authority := own.pop(":authority", None)) is not None:
            own["host"] = authority
        headers = [pair for pair in self._passed_on(exchange) if pair[0].decode("latin-1") not in own]
        headers += [(name.encode(), value.encode()) for name, value in own.items()]
        return method, url, headers

    def _passed_on(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        if not self._forwarded:
            return []
        return [
            (name, value)
            for name, value in exchange.request.headers.end_to_end().raw
            if any(matches(value.decode("latin-1")) for matches in self._forwarded.get(name, ()))
        ]


def matchers(configured: Sequence[HeaderMatch]) -> dict[bytes, list[Callable[[str], bool]]]:
    """By the header's name; those of the message's framing are never passed on."""
    found: dict[bytes, list[Callable[[str], bool]]] = defaultdict(list)
    for match in configured:
        if match.name not in FRAMING:
            found[match.name.encode()].append(match.value.matches)
    return dict(found)


def said(name: str, expression: Any, exchange: Exchange) -> str:
    """The value of a configured header. Raises `GuardFailed` for one that cannot be computed, or is no line of text."""
    try:
        value = expression.value(exchange)
    except ExpressionError as error:
        raise GuardFailed(detail=f"header {name} cannot be computed") from error
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float) or not (text := str(value)).isprintable():
        raise GuardFailed(detail=f"header {name} is no line of text")
    return text


def at_path(url: str, path: str) -> str:
    """The URL of another path on the same host."""
    if not path.startswith("/"):
        raise GuardFailed(detail="`:path` is no path")
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{path}"
