"""The resources of a subscription to several servers: each hears of its own, by the names that it knows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from agentgateway.errors import UpstreamError
from agentgateway_mcp.envelope import Json, member, without
from agentgateway_mcp.fan import gather
from agentgateway_mcp.legacy_words import acknowledged
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.servers import Answer

URIS = "resourceSubscriptions"


def asked_of(names: Names, target: str, call: McpCall) -> bytes | Json:
    """A client's `subscriptions/listen` as one of several servers gets it."""
    params = call.params
    wanted = member(params, "notifications")
    uris = wanted.get(URIS)
    if not isinstance(uris, list) or not names.marks_uris:
        return call.body()
    found = [names.inward_uri(uri) for uri in uris if isinstance(uri, str)]
    own = [uri for owner, uri in found if owner == target]
    kept = {**wanted, URIS: own} if own else without(wanted, (URIS,))
    return {**call.document, "params": {**params, "notifications": kept}}


async def begun(names: Names, answers: Mapping[str, Answer], call: McpCall, limit: float) -> Json:
    """The one word that a subscription has begun, from every server's own. Those that do not say it within `limit`
    seconds are let go of. Raises `GatewayError` when none does."""
    first = {target: partial(acknowledged_by, answer) for target, answer in answers.items()}
    try:
        found = await gather(first, limit, fail_open=True)
    except BaseException:
        for answer in answers.values():
            await answer.close()
        raise
    for target in answers.keys() - found.keys():
        await answers[target].close()
    uris = [names.outward_uri(target, uri) for target, kept in found.items() for uri in kept.get(URIS, ())]
    kept = {key: True for one in found.values() for key, value in one.items() if value is True}
    return acknowledged({**kept, **({URIS: uris} if uris else {})}, call.id)


async def acknowledged_by(answer: Answer) -> Json:
    """What a server will tell of: its first message says so. Raises `UpstreamError`."""
    if answer.messages is not None:
        async for said in answer.messages:
            if said.data:
                return member(member(read_message(said.data), "params"), "notifications")
    raise UpstreamError("the server ended without an answer")
