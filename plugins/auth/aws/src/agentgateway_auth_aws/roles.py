"""Sessions of a role: one for each set of tags that requests come with, kept while it lasts."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from agentgateway.errors import InternalError
from agentgateway.exchange import Exchange
from agentgateway.expressions import Expression, ExpressionError
from agentgateway_auth_aws.chain import Roles
from agentgateway_auth_aws.config import AssumeRole
from agentgateway_auth_aws.keys import Fresh, Keys

MOST_SESSIONS = 1024
LONGEST_TAG = 256


class Sessions:
    """The role's keys for a request. Tags that cannot be computed fail the request: who they are for would be wrong."""

    def __init__(self, config: AssumeRole, roles: Roles, tags: Mapping[str, Expression]) -> None:
        self._config = config
        self._roles = roles
        self._tags = tags
        self._sessions: OrderedDict[tuple[tuple[str, str], ...], Fresh] = OrderedDict()

    async def keys(self, exchange: Exchange) -> Keys:
        tags = tuple((key, tag(key, expression, exchange)) for key, expression in self._tags.items())
        session = self._sessions.get(tags)
        if session is None:
            asked = self._asked(tags)
            session = self._sessions[tags] = Fresh(lambda: asyncio.to_thread(self._roles.assume, asked))
            if len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(tags)
        return await session.keys()

    def _asked(self, tags: tuple[tuple[str, str], ...]) -> dict[str, Any]:
        config = self._config
        asked: dict[str, Any] = {
            "RoleArn": config.role_arn,
            "RoleSessionName": config.session_name,
            "DurationSeconds": int(config.duration),
        }
        if config.external_id is not None:
            asked["ExternalId"] = config.external_id.reveal()
        if tags:
            asked["Tags"] = [{"Key": key, "Value": value} for key, value in tags]
        return asked

    async def stop(self) -> None:
        for session in self._sessions.values():
            await session.stop()


def tag(key: str, expression: Expression, exchange: Exchange) -> str:
    """Raises `InternalError`."""
    try:
        value = expression.value(exchange)
    except ExpressionError as error:
        raise InternalError(detail=f"the session tag `{key}` has no value: {error}") from None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, str | int | float) or len(text) > LONGEST_TAG:
        raise InternalError(detail=f"the session tag `{key}` is no text of at most {LONGEST_TAG} characters")
    return text
