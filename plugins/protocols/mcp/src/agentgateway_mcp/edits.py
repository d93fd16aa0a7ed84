"""What clients see of a target's tools, prompts and resources: which of them, under which names, with which words and
parameters. Beyond the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails

from agentgateway.settings import PluginConfig, problem

NAME = r"^[A-Za-z0-9_.\-]{1,128}$"
"""What a tool may be called (specification 2025-11-25, "Tool Names")."""


class Chosen(PluginConfig):
    """Which things there are. Patterns know `*` and `?`."""

    include: list[str] = ["*"]
    """Patterns of the server's own names; what fits none is not there."""
    exclude: list[str] = []
    """Patterns of names that are not there either."""

    def has(self, name: str) -> bool:
        if not self.exclude and self.include == ["*"]:
            return True
        return fits(self.include, name) and not fits(self.exclude, name)


class PromptEdit(PluginConfig):
    """A prompt as clients see it."""

    name: str | None = Field(None, min_length=1)
    """Its whole name, with no target in front of it."""
    description: str | None = None
    """What it says of itself."""


class ToolEdit(PromptEdit):
    """A tool as clients see it."""

    name: str | None = Field(None, pattern=NAME)
    """Its whole name, with no target in front of it: letters, digits, `_`, `-` and `.`, at most 128."""
    pin: dict[str, Any] = {}
    """Arguments that every call gets, whatever the client says; they are not in the schema."""
    hide: list[str] = []
    """Parameters that are not in the schema, and not sent."""


class Tools(Chosen):
    """The tools of a target."""

    edit: dict[str, ToolEdit] = {}
    """By the server's own name."""

    @field_validator("edit")
    @classmethod
    def _of_what_is_there(cls, edit: dict[str, ToolEdit], info: ValidationInfo) -> dict[str, ToolEdit]:
        return only_of_what_is_there(cls.__name__, edit, info.data)


class Prompts(Chosen):
    """The prompts of a target."""

    edit: dict[str, PromptEdit] = {}
    """By the server's own name."""

    @field_validator("edit")
    @classmethod
    def _of_what_is_there(cls, edit: dict[str, PromptEdit], info: ValidationInfo) -> dict[str, PromptEdit]:
        return only_of_what_is_there(cls.__name__, edit, info.data)


Edits = TypeVar("Edits", bound=Mapping[str, PromptEdit])


def only_of_what_is_there(kind: str, edits: Edits, chosen: Mapping[str, Any]) -> Edits:
    """Raises `ValidationError` for edits of things that `include` and `exclude` leave out."""
    if "include" in chosen and "exclude" in chosen:
        there = Chosen(include=chosen["include"], exclude=chosen["exclude"])
        wrong = [own for own in edits if not there.has(own)]
        if wrong:
            error = problem(
                "this one is left out by `include` or `exclude`", "no client would see what it is made into"
            )
            details = [InitErrorDetails(type=error, loc=(own,), input=None) for own in wrong]
            raise ValidationError.from_exception_data(kind, details)
    return edits


class Resources(Chosen):
    """The resources of a target."""

    keep: list[str] = []
    """Patterns of URIs that clients know as they are, with no target in front, because no other target has such."""


class Seen:
    """How clients see one target."""

    def __init__(self, tools: Tools, prompts: Prompts, resources: Resources) -> None:
        self._kinds: Mapping[str, Tools | Prompts | Resources] = {
            "tool": tools,
            "prompt": prompts,
            "resource": resources,
        }
        self.tools = tools
        self.prompts = prompts
        self.resources = resources
        self.renamed = {
            kind: {own: edit.name for own, edit in edits.items() if edit.name is not None}
            for kind, edits in (("tool", tools.edit), ("prompt", prompts.edit))
        }

    @property
    def changes(self) -> bool:
        """Whether anything of the target is seen otherwise than it is."""
        return any(one != type(one)() for one in self._kinds.values())

    def has(self, kind: str, name: str) -> bool:
        chosen = self._kinds.get(kind)
        return chosen is None or chosen.has(name)

    def keeps(self, uri: str) -> bool:
        return fits(self.resources.keep, uri)

    def reworded(self, kind: str, own: str, thing: dict[str, Any]) -> None:
        """Put the words and parameters of the file into an entry of a list."""
        edit: ToolEdit | PromptEdit | None = None
        if kind == "tool":
            edit = self.tools.edit.get(own)
        elif kind == "prompt":
            edit = self.prompts.edit.get(own)
        if edit is None:
            return
        if edit.description is not None:
            thing["description"] = edit.description
        if isinstance(edit, ToolEdit) and (edit.pin or edit.hide):
            without(thing.get("inputSchema"), {*edit.pin, *edit.hide})

    def unseen(self, own: str) -> frozenset[str]:
        """The parameters of a tool that clients do not know of."""
        edit = self.tools.edit.get(own)
        return frozenset((*edit.pin, *edit.hide)) if edit is not None else frozenset()

    def arguments(self, own: str, given: Any) -> Any:
        """The arguments of a call as the server gets them."""
        edit = self.tools.edit.get(own)
        if edit is None or not (edit.pin or edit.hide):
            return given
        kept = {key: value for key, value in given.items() if key not in edit.hide} if isinstance(given, dict) else {}
        return {**kept, **edit.pin}


def without(schema: Any, names: set[str]) -> None:
    """Take properties out of an object's schema."""
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("properties"), dict):
        schema["properties"] = {key: one for key, one in schema["properties"].items() if key not in names}
    if isinstance(schema.get("required"), list):
        schema["required"] = [key for key in schema["required"] if key not in names]


def fits(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
