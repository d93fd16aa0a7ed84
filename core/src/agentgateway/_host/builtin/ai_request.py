"""The last that happens to a model call before it is sent: the provider's word, a credential, and its bytes."""

from __future__ import annotations

from typing import Any

from agentgateway._host.builtin.ai_entry import Entry
from agentgateway.errors import InvalidRequest
from agentgateway.exchange import HOP_BY_HOP, NAME, Exchange, Outgoing
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import JSON_FIELD, LlmCall

CREDENTIALS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
CREDENTIAL_FIELDS = frozenset(name.encode() for name in CREDENTIALS)
NOT_FORWARDED = (
    HOP_BY_HOP
    | CREDENTIAL_FIELDS
    | {b"accept-encoding", b"content-encoding", b"content-length", b"content-type", b"cookie", b"expect", b"host"}
    | {b"origin", b"referer", b"access-control-request-headers", b"access-control-request-method"}
    | {b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-user"}
    | {b"x-amz-security-token", b"x-amz-date", b"x-amz-content-sha256", b"amz-sdk-invocation-id", b"amz-sdk-request"}
)
"""What of the client's headers never goes on: what is written anew, its credentials, and what a browser adds for its
own checks, which vendors take for a call from a web page."""
UNCODED_FIELD = (b"accept-encoding", b"identity")
FIXED = (JSON_FIELD, UNCODED_FIELD)


class Finish:
    """The provider's last word before signing, and the bytes of the call as it then is."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        outgoing = exchange.outgoing
        assert outgoing is not None
        if lacks_credential(exchange):
            self._ambient(exchange, outgoing)
        call: LlmCall = outgoing.call
        call.mark_cache()
        if call.passes:
            finish_around(self._entry.provider, outgoing, call)
        else:
            self._entry.provider.finish(outgoing, call)
        outgoing.headers.raw.extend(FIXED if call.whole else (*call.framing(), UNCODED_FIELD))
        outgoing.body = call.payload()

    def _ambient(self, exchange: Exchange, outgoing: Outgoing) -> None:
        """No policy gave a credential: the operator's, from the vendor's usual variable, else the client's own."""
        if self._entry.key is not None:
            outgoing.headers.set("authorization", f"Bearer {self._entry.key.reveal()}")
            return
        if self._entry.credential is not None:
            return
        for name in CREDENTIALS:
            value = exchange.request.headers.get(name)
            if value is not None:
                outgoing.headers.add(name, value)
                return


def finish_around(provider: Provider, outgoing: Outgoing, call: LlmCall) -> None:
    """What the provider does to a request, and not to its call: that is passed on as it is. Raises `InvalidRequest`
    when it has something to put into the call (a guardrail of the operator's), which must not be lost."""
    blank, accept = LlmCall(call.dialect, {}, call, raw=b""), outgoing.headers.get("accept")
    blank.stream = False  # the client has said in its own words what it wants
    provider.finish(outgoing, blank)
    if accept is not None:
        outgoing.headers.set("accept", accept)
    if blank.changed:
        raise InvalidRequest("this call cannot be passed on unread: its provider has to add something to it")


class Default:
    """The provider's own choice of a credential, for requests that have none."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        if lacks_credential(exchange):
            self._credential.apply(exchange)


class AwaitedDefault:
    """One that may have to be fetched first."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    @hookimpl
    async def upstream(self, exchange: Exchange) -> None:
        if lacks_credential(exchange):
            await self._credential.apply(exchange)


def lacks_credential(exchange: Exchange) -> bool:
    outgoing = exchange.outgoing
    assert outgoing is not None
    return not outgoing.pinned and CREDENTIAL_FIELDS.isdisjoint(map(NAME, outgoing.headers.raw))
