"""The configuration of `promptGuard`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from agentgateway.errors import GuardRejected
from agentgateway.settings import Duration, HeaderName, HeaderValue, PluginConfig, problem


class RejectionHeaders(PluginConfig):
    add: dict[HeaderName, HeaderValue] = {}
    """Headers of the answer."""
    set: dict[HeaderName, HeaderValue] = {}
    """The same: the answer has no others."""
    remove: list[HeaderName] = []
    """Accepted for the reference's sake; there is nothing to remove."""


class RejectionConfig(PluginConfig):
    """What a client gets whose message was refused."""

    body: str = GuardRejected.default_message
    """The message of the error, in the client's own dialect."""
    status: int = Field(403, ge=400, le=599)
    """The status."""
    headers: RejectionHeaders = RejectionHeaders()
    """Headers of the answer."""


class CircuitBreaker(PluginConfig):
    """When a guard that keeps failing is no longer asked."""

    failures: int = Field(5, ge=1)
    """After so many failures in a row."""
    duration: Duration = 10.0
    """For so long; then one call tries it again."""


class GuardEntry(PluginConfig):
    """One guard: its kind with that kind's own configuration, and what happens when it refuses."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"x-kinds": "agentgateway.guards"})

    name: str = ""
    """What the log calls it; its kind when absent."""
    rejection: RejectionConfig = RejectionConfig()
    """What the client gets when it refuses."""
    failure_mode: Literal["failClosed", "failOpen"] | None = None
    """What happens to a message when the guard cannot do its work, on streams too: it is refused, or passes unseen.
    Absent, what the guard itself says, which is `failClosed` unless its own page says otherwise."""
    timeout: Duration = Field(10.0, gt=0)
    """How long it may take over one look at a message; after that it has failed."""
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """When a guard that keeps failing is no longer asked; it then fails at once."""

    @model_validator(mode="after")
    def _one_kind(self) -> GuardEntry:
        if len(self.model_extra or {}) != 1:
            raise problem("expected exactly one kind of guard", "write `regex: {...}`, or another installed guard")
        return self

    @property
    def kind(self) -> tuple[str, Any]:
        """The guard's name in its entry-point group, and its configuration as it stands in the file."""
        return next(iter((self.model_extra or {}).items()))


class PromptGuardConfig(PluginConfig):
    """Guards of model calls and of their replies."""

    request: list[GuardEntry] = []
    """Guards of what clients send."""
    response: list[GuardEntry] = []
    """Guards of what models answer."""
    streaming: Literal["Enabled", "Disabled"] = "Enabled"
    """Whether the guards of replies look at streamed ones, too."""
