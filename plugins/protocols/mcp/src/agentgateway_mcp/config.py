"""The configuration of the backend `mcp`, and of what the section `mcp` has besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails

from agentgateway.settings import Duration, PluginConfig, problem
from agentgateway_mcp.edits import Prompts, Resources, Tools
from agentgateway_mcp.known_eras import Era
from agentgateway_mcp.origins import HostName, Origin
from agentgateway_mcp.pins import ToolPinning

Kinds = Field(min_length=1, max_length=1, json_schema_extra={"x-kinds": "agentgateway.mcp_logins"})
PATTERN = frozenset("*?[")
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?"


class TargetConfig(PluginConfig):
    """One server: its kind with that kind's own configuration."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"x-kinds": "agentgateway.mcp_targets"})

    name: str = Field(pattern=f"^{NAME}$", max_length=64)
    """What stands in front of the names of its tools and prompts. No `_`: that is where the two are told apart."""
    era: Era = "auto"
    """Which versions of the protocol it speaks: those with `sessions` (until 2025-11-25), the one that is `stateless`
    (2026-07-28), or whatever it is found to."""
    policies: dict[str, Any] = {}
    """Policies of the requests to it."""
    login: Annotated[dict[str, Any], Kinds] | None = None
    """How its users log in to it, each for themselves: one kind, with that kind's own configuration."""
    tools: Tools = Tools()
    """Which of its tools clients see, and how."""
    prompts: Prompts = Prompts()
    """The same of its prompts."""
    resources: Resources = Resources()
    """The same of its resources."""
    tool_pinning: ToolPinning | None = None
    """As `toolPinning` of the backend, which holds where it is absent."""

    @model_validator(mode="after")
    def _one_kind(self) -> TargetConfig:
        if len(self.model_extra or {}) != 1:
            raise problem("expected exactly one kind of target", "write `mcp: {host: ...}`, or another installed kind")
        return self

    @property
    def kind(self) -> tuple[str, Any]:
        """The kind's name in its entry-point group, and its configuration as it stands in the file."""
        return next(iter((self.model_extra or {}).items()))


class McpConfig(PluginConfig):
    """Servers behind one endpoint."""

    targets: list[TargetConfig] = Field(min_length=1)
    """The servers, in the order of merged lists."""
    prefix_mode: Literal["conditional", "always", "never"] = "conditional"
    """Whether names of tools and prompts are told apart by `TARGET_` in front of them: only when there are several
    targets, always, or never. With `never`, the first target in the list that has a name owns it."""
    failure_mode: Literal["failClosed", "failOpen"] = "failClosed"
    """What happens to a list, or to the opening of a session, when one of several servers fails: it fails too, or goes
    without that server."""
    stateful_mode: Literal["stateful", "stateless"] = "stateful"
    """Whether clients of versions that have sessions get one; without, each of their requests stands alone."""
    session_idle: Duration = Field(1800.0, gt=0)
    """How long a session outlasts its last message."""
    session_lifetime: Duration = Field(86400.0, gt=0)
    """How long any session lives."""
    dns_rebinding_protection: bool = True
    """Whether requests from this machine must name it (`localhost`, `127.0.0.1`, `[::1]`) as their host, and an
    `Origin` must be the endpoint's own: what keeps pages in a browser from talking to local servers."""
    allowed_hosts: list[HostName] = []
    """Host names that requests may name besides, without a port."""
    allowed_origins: list[Origin] = []
    """Origins (`https://app.example.com`) of pages that may ask besides."""
    tool_pinning: ToolPinning = ToolPinning()
    """What becomes of tools that are not what they were when their server was first asked."""
    timeout: Duration = Field(30.0, gt=0)
    """How long a server may take over what several are asked (a list, a ping, a level), or over opening a session."""

    @field_validator("targets")
    @classmethod
    def _names_differ(cls, targets: list[TargetConfig]) -> list[TargetConfig]:
        taken: set[tuple[str, str]] = set()
        wrong: list[InitErrorDetails] = []
        for kind, name, place in (one for index, target in enumerate(targets) for one in named(index, target)):
            if (kind, name) in taken:
                error = problem(f"two {kind} are called `{name}`", "give each a name of its own")
                wrong.append(InitErrorDetails(type=error, loc=place, input=None))
            taken.add((kind, name))
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return targets

    @property
    def prefixed(self) -> bool:
        """Whether clients know tools and prompts as `TARGET_name`."""
        return self.prefix_mode == "always" or (self.prefix_mode == "conditional" and len(self.targets) > 1)

    @model_validator(mode="after")
    def _names_are_free(self) -> McpConfig:
        wrong = [
            InitErrorDetails(type=problem(said, "give it another name"), loc=("targets", *place), input=None)
            for place, said in names_of_others(self.targets, self.prefixed)
        ]
        if wrong:
            raise ValidationError.from_exception_data(type(self).__name__, wrong)
        return self


def named(index: int, target: TargetConfig) -> Iterator[tuple[str, str, tuple[str | int, ...]]]:
    """What has a name of its own: what it is, the name, and where among the targets that stands."""
    yield "targets", target.name, (index, "name")
    for kind, edits in (("tools", target.tools.edit), ("prompts", target.prompts.edit)):
        for own, edit in edits.items():
            if edit.name is not None:
                yield kind, edit.name, (index, kind, "edit", own, "name")


def names_of_others(targets: list[TargetConfig], prefixed: bool) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where something is given a name that clients have for another thing, as far as the file tells: what else it says
    about that one, or, with prefixes, whose it looks like."""
    by_name: dict[str, dict[str, Tools | Prompts]] = {
        target.name: {"tools": target.tools, "prompts": target.prompts} for target in targets
    }
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for target, kind, chosen in ((one, kind, each) for one in targets for kind, each in by_name[one.name].items()):
        for own in (*chosen.edit, *(one for one in chosen.include if not PATTERN & set(one))):
            if chosen.has(own) and (own not in chosen.edit or chosen.edit[own].name is None):
                known[kind, f"{target.name}_{own}" if prefixed else own] = (target.name, own)
    for index, target in enumerate(targets):
        for kind, name, place in named(index, target):
            if kind == "targets":
                continue
            owner, mark, rest = name.partition("_")
            theirs = by_name[owner][kind] if prefixed and mark and owner in by_name else None
            other = known.get((kind, name))
            if theirs is not None and owner != target.name and theirs.has(rest):
                edit = theirs.edit.get(rest)
                other = (owner, rest) if edit is None or edit.name is None else other
            if other is not None and other != (target.name, place[3]):
                yield place, f"`{name}` is what clients call `{other[1]}` of target `{other[0]}`"
