"""YAML text to a tree of nodes that knows the line of everything.

ruamel.yaml scans and parses; composing is ours, because it bounds depth, keeps the lines, and knows which scalars were
quoted. No message contains a value.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentgateway._host.expansion import protect, restore
from agentgateway.errors import ConfigError

MAX_DEPTH = 64

_TAGS = "tag:yaml.org,2002:"
_SCALAR_TAGS = ("bool", "float", "int", "null", "str")


@dataclass(frozen=True, slots=True)
class Scalar:
    line: int
    text: str
    plain: bool
    """Neither quoted nor a block scalar."""
    tag: str


@dataclass(frozen=True, slots=True)
class Collection:
    line: int
    values: "tuple[Node, ...]"
    keys: "tuple[Node, ...] | None"
    """None for a sequence."""


Node = Scalar | Collection


def compose(text: str) -> Node | None:
    """The one document of the text, None if it is empty. Raises ConfigError with a line, without file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return _Composer(YAML(typ="safe", pure=True).parse(protect(_untabbed(text)))).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _syntax_error(error.problem or error.context, mark.line + 1, mark.column + 1) from None
    except YAMLError as error:  # the reader's: it knows the character's position only
        before = text[: getattr(error, "position", 0)]
        column = len(before) - before.rfind("\n")
        raise _syntax_error("control character", before.count("\n") + 1, column) from None
    except (ValueError, OverflowError):  # from chr()
        raise ConfigError("YAML syntax: an escape is beyond Unicode") from None


def _syntax_error(problem: str, line: int, column: int) -> ConfigError:
    safe = re.sub(r"'([^']*)'", _unquoted, problem)
    hint = ""
    if r"'\t'" in safe:
        hint = "indent with spaces, not tabs"
    elif "cannot start any token" in safe or "alphabetic or numeric" in safe:
        hint = "quote text that begins with one of * & ! @ ` % | >"
    return ConfigError(f"YAML syntax, column {column}: {safe}", line=line, hint=hint)


def _unquoted(found: re.Match[str]) -> str:
    """Keeps names of tokens and single characters, hides what else of the file is quoted."""
    shown = found[1].startswith(("<", "\\")) or len(found[1]) == 1
    return found[0] if shown else "'…'"


def _untabbed(text: str) -> str:
    """JSON with its tabs, which YAML does not like between tokens, made spaces; other text as it is."""
    if "\t" not in text or not text.lstrip().startswith("{"):
        return text
    try:
        json.loads(text)  # proves that no tab is inside a string
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


class _Composer:
    """Builds nodes from ruamel's events. An anchor counts from its node's end, so that there are no cycles."""

    def __init__(self, events: Iterator[Any]) -> None:
        self.events = events
        self.anchors: dict[str, Node] = {}

    def document(self) -> Node | None:
        next(self.events)  # the stream's start
        if not _is(next(self.events), "DocumentStart"):
            return None
        root = self.node(next(self.events), 0)
        next(self.events)  # the document's end
        following = next(self.events)
        if _is(following, "DocumentStart"):
            raise ConfigError("more than one YAML document", line=_line(following), hint="one file is one document")
        return root

    def node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise ConfigError(f"nested deeper than {MAX_DEPTH} levels", line=_line(event))
        if _is(event, "Alias"):
            if event.anchor not in self.anchors:
                raise ConfigError("alias of an anchor that is not complete before it", line=_line(event))
            return self.anchors[event.anchor]
        node = self.scalar(event) if _is(event, "Scalar") else self.collection(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: Any) -> Scalar:
        tag = _tag(event, *_SCALAR_TAGS)
        return Scalar(_line(event), restore(event.value), event.style is None, tag)

    def collection(self, event: Any, depth: int) -> Collection:
        is_mapping = _is(event, "MappingStart")
        _tag(event, "map" if is_mapping else "seq")
        children: list[Node] = []
        for child in self.events:
            if _is(child, "MappingEnd") or _is(child, "SequenceEnd"):
                break
            children.append(self.node(child, depth + 1))
        if not is_mapping:
            return Collection(_line(event), tuple(children), None)
        return Collection(_line(event), tuple(children[1::2]), tuple(children[::2]))


def _is(event: Any, kind: str) -> bool:
    return type(event).__name__ == kind + "Event"


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _tag(event: Any, *allowed: str) -> str:
    """The short name of an explicit tag, "" if there is none; `!` means text."""
    tag = event.tag or ""
    if not tag or tag == "!":
        return "str" if tag and "str" in allowed else ""
    name = str(tag).removeprefix(_TAGS)
    if name not in allowed or name == tag:
        raise ConfigError("YAML tags other than those of the core schema are refused", line=_line(event))
    return name
