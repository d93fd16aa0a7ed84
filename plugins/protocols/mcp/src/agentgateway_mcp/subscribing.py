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
TASKS = "taskIds"


def asked_of(names: Names, target: str, call: McpCall) -> bytes | Json:
    """A client's `subscriptions/listen` as one of several servers gets it."""
    params = call.params
    wanted = member(params, "notifications")
    if not names.marks_uris or not any(isinstance(wanted.get(key), list) for key in (URIS, TASKS)):
        return call.body()
    kept = without(wanted, (URIS, TASKS))
    for key, inward in ((URIS, names.inward_uri), (TASKS, names.inward_task)):
        given = wanted.get(key)
        found = [inward(one) for one in (given if isinstance(given, list) else ()) if isinstance(one, str)]
        if own := [one for owner, one in found if owner == target]:
            kept[key] = own
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
