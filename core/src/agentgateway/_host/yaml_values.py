"""YAML nodes to plain data, with the line of every key.

Scalars resolve by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): `yes` and `on` are text,
`0o17` is octal, there are no dates. The one thing kept from 1.1 is the merge key `<<`. Aliases are copied, and what
they may add is bounded. No message contains a value; keys are shown.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentgateway._host.yaml_nodes import MAX_DEPTH, Collection, Node, Scalar
from agentgateway.errors import ConfigError

MAX_COPIED = 200_000
"""Values that aliases may add to those that are written out."""

Path = tuple[str | int, ...]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "float": (float, int),
    "int": int,
    "null": type(None),
    "str": str,
}


@dataclass(slots=True)
class Mark:
    """Where a value stands: the line of its key or, in a sequence, of itself."""

    line: int
    children: "dict[str | int, Mark]" = field(default_factory=dict)


def construct(root: Node, expand: Callable[[str], str]) -> tuple[Any, Mark]:
    """Data and marks. `expand` changes the text of values; a plain one takes its type after that.

    Raises NodeError.
    """
    walk = _Walk(root, expand)
    data, children = walk.value(root, ())
    return data, Mark(root.line, children)


class NodeError(ConfigError):
    """A ConfigError that knows its keys."""

    def __init__(self, message: str, at: Path, line: int, hint: str = "") -> None:
        super().__init__(message, line=line, hint=hint)
        self.at = at


Built = tuple[Any, dict[str | int, Mark]]


class _Walk:
    def __init__(self, root: Node, expand: Callable[[str], str]) -> None:
        self.root = root
        self.expand = expand
        self.visited = 0
        self.most = MAX_COPIED

    def value(self, node: Node, at: Path) -> Built:
        self.visited += 1
        if self.visited > self.most:
            self.most = MAX_COPIED + written(self.root)
            if self.visited > self.most:
                raise NodeError(f"aliases add more than {MAX_COPIED} values", at, node.line)
        if len(at) > MAX_DEPTH:
            raise NodeError(f"nested deeper than {MAX_DEPTH} levels", at, node.line)
        if isinstance(node, Scalar):
            return self.scalar(node, at), {}
        return self.sequence(node, at) if node.keys is None else self.mapping(node, at)

    def scalar(self, node: Scalar, at: Path) -> object:
        try:
            text = self.expand(_whole(node.text))
            value = text if node.tag == "str" or not (node.plain or node.tag) else resolve(text)
        except ValueError as error:
            raise NodeError(str(error), at, node.line, getattr(error, "hint", "")) from None
        if node.tag and not isinstance(value, _TYPES[node.tag]):
            raise NodeError(f"not what its tag !!{node.tag} says", at, node.line)
        return value

    def sequence(self, node: Collection, at: Path) -> Built:
        data = []
        marks: dict[str | int, Mark] = {}
        for index, child in enumerate(node.values):
            value, children = self.value(child, (*at, index))
            data.append(value)
            marks[index] = Mark(child.line, children)
        return data, marks

    def mapping(self, node: Collection, at: Path) -> Built:
        data: dict[str, Any] = {}
        marks: dict[str | int, Mark] = {}
        merged: list[Node] = []
        for key_node, child in zip(node.keys or (), node.values, strict=True):
            if isinstance(key_node, Scalar) and key_node.plain and key_node.text == "<<":
                merged.append(child)
                continue
            key = _key(key_node, at)
            if key in data:
                first = marks[key].line
                raise NodeError(f"duplicate key, first on line {first}", (*at, key), key_node.line)
            data[key], children = self.value(child, (*at, key))
            marks[key] = Mark(key_node.line, children)
        for child in merged:
            self.merge(child, at, data, marks)
        return data, marks

    def merge(self, node: Node, at: Path, data: dict[str, Any], marks: dict[str | int, Mark]) -> None:
        """Add the keys that are not there yet (https://yaml.org/type/merge.html)."""
        is_list = isinstance(node, Collection) and node.keys is None
        for source in node.values if isinstance(node, Collection) and is_list else (node,):
            if not isinstance(source, Collection) or source.keys is None:
                raise NodeError("<< merges a mapping or a list of mappings", at, node.line)
            values, children = self.value(source, at)
            for key in [key for key in values if key not in data]:
                data[key], marks[key] = values[key], children[key]


def written(root: Node) -> int:
    """How many values the text has; one that aliases repeat counts once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            waiting.extend(node.values if isinstance(node, Collection) else ())
    return len(seen)


def _key(node: Node, at: Path) -> str:
    if not isinstance(node, Scalar):
        raise NodeError("a key must be text", at, node.line, "in { }, quote values that contain braces")
    if node.tag not in ("", "str") or (node.plain and not node.tag and not isinstance(resolve(node.text), str)):
        raise NodeError("a key must be text, this one is a number, a boolean or null", at, node.line, "quote the key")
    try:
        return _whole(node.text)
    except ValueError as error:
        raise NodeError(str(error), at, node.line) from None


def _whole(text: str) -> str:
    r"""JSON writes what is beyond U+FFFF as two escapes, `\ud83d\ude00`; a half alone is refused."""
    if not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError("half of a surrogate pair is not a character") from None


_CONSTANTS: Mapping[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], object]], ...] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)


def resolve(text: str) -> object:
    """The value of a plain scalar by the core schema. A number of absurd length stays text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in "-+.0123456789" and len(text) <= 4000:  # int() itself refuses at 4300 digits
        for pattern, convert in _NUMBERS:
            if pattern.fullmatch(text):
                return convert(text)
    return text
