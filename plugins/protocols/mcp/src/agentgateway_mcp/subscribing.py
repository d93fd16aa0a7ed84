"""The resources of a subscription to several servers: each hears of its own, by the names that it knows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Exchange
from agentgateway_mcp.envelope import Json, member, without
from agentgateway_mcp.errors import INVALID_PARAMS, McpError
from agentgateway_mcp.fan import gather
from agentgateway_mcp.legacy_words import acknowledged
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.rules import allowed
from agentgateway_mcp.servers import Answer

URIS = "resourceSubscriptions"
TASKS = "taskIds"


def asked_of(exchange: Exchange, names: Names, target: str, call: McpCall) -> bytes | Json:
    """A client's `subscriptions/listen` as one server gets it: with the resources and tasks of its own that there are
    for this client. Raises `McpError`."""
    wanted = call.params.get("notifications")
    if wanted is None:
        return call.body()
    if not isinstance(wanted, dict):
        raise McpError(INVALID_PARAMS, "params.notifications must be an object")
    if not (URIS in wanted or TASKS in wanted) or not (names.marks_uris or names.changes or call.rules):
        return call.body()
    kept = without(wanted, (URIS, TASKS))
    for key, kind, inward in ((URIS, "resource", names.inward_uri), (TASKS, "task", names.inward_task)):
        given = wanted.get(key)
        found = [inward(one) for one in (given if isinstance(given, list) else ()) if isinstance(one, str)]
        if own := [one for owner, one in found if owner == target and there_is(exchange, names, kind, target, one)]:
            kept[key] = own
    return {**call.document, "params": {**call.params, "notifications": kept}}


def there_is(exchange: Exchange, names: Names, kind: str, target: str, name: str) -> bool:
    """Whether the file and the rules let the client know of a thing."""
    return names.seen[target].has(kind, name) and allowed(exchange, kind, target, name)


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
    kept: Json = {key: True for one in found.values() for key, value in one.items() if value is True}
    for key, outward in ((URIS, names.outward_uri), (TASKS, names.outward_task)):
        if told := [outward(target, name) for target, one in found.items() for name in one.get(key, ())]:
            kept[key] = told
    return acknowledged(kept, call.id)


async def acknowledged_by(answer: Answer) -> Json:
    """What a server will tell of: its first message says so. Raises `UpstreamError`."""
    if answer.messages is not None:
        async for said in answer.messages:
            if said.data:
                return member(member(read_message(said.data), "params"), "notifications")
    raise UpstreamError("the server ended without an answer")
