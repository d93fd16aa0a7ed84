"""Steps of `Provider.finish` that several vendors have in common."""

from __future__ import annotations

from collections.abc import Callable

from agentgateway.exchange import Outgoing
from agentgateway.llm.calls import LlmCall


def leave_extensions(call: LlmCall) -> None:
    """Take what only some compatible vendors know out of a call that was translated; what the client wrote itself in
    the vendor's format is the client's to say."""
    if call.raw is None:
        call.dialect.plain(call.document)


def modernise_limit(call: LlmCall) -> None:
    """Rename `max_tokens` of chat completions, which reasoning models refuse and the others take under its new name as
    well (https://platform.openai.com/docs/api-reference/chat/create#chat_create-max_tokens)."""
    if "max_tokens" in call.document and "max_completion_tokens" not in call.document:
        document = call.edit()
        document["max_completion_tokens"] = document.pop("max_tokens")


def place_key(outgoing: Outgoing, header: str, is_key: Callable[[str], bool]) -> None:
    """Leave one credential: the one that the configuration pinned to a header, else the Bearer token, in the vendor's
    own header if it is a key, else what the client put into the vendor's header itself."""
    headers, pinned = outgoing.headers, outgoing.pinned
    token = bearer(headers.get("authorization"))
    if header in pinned:
        if "authorization" not in pinned:
            headers.remove("authorization")
    elif "authorization" in pinned or (token is not None and not is_key(token)):
        headers.remove(header)
    elif token is not None:
        headers.remove("authorization")
        headers.set(header, token)


def bearer(authorization: str | None) -> str | None:
    """The token of a Bearer credential (RFC 6750 section 2.1; the scheme's case does not matter)."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
