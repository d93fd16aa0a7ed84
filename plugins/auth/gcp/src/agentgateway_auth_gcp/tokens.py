"""Google's tokens."""

from __future__ import annotations

from dataclasses import dataclass

from agentgateway.tokens import Token

SOON = 225.0
"""Seconds before its end at which a token is fetched anew, as google-auth does: metadata servers keep theirs until
shortly before."""


@dataclass(frozen=True, slots=True)
class GoogleToken(Token):
    """`payer` is the project that a user's calls are charged to."""

    payer: str | None = None
