"""The syntax tree: frozen nodes, each with its place in the text."""

from dataclasses import dataclass
from typing import Any

from agentgateway.expressions.errors import ExpressionSyntaxError


@dataclass(frozen=True, slots=True)
class Place:
    line: int
    column: int

    def error(self, message: str) -> ExpressionSyntaxError:
        return ExpressionSyntaxError(message, self.line, self.column)


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any
    at: Place


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    at: Place


@dataclass(frozen=True, slots=True)
class Field:
    """`operand.name`"""

    operand: "Node"
    name: str
    at: Place


@dataclass(frozen=True, slots=True)
class Index:
    """`operand[key]`"""

    operand: "Node"
    key: "Node"
    at: Place


@dataclass(frozen=True, slots=True)
class Call:
    """`name(arguments)`, or `target.name(arguments)`."""

    name: str
    target: "Node | None"
    arguments: "tuple[Node, ...]"
    at: Place


@dataclass(frozen=True, slots=True)
class Unary:
    """`!` or `-`."""

    operator: str
    operand: "Node"
    at: Place


@dataclass(frozen=True, slots=True)
class Relation:
    """`== != < <= > >= in`"""

    operator: str
    left: "Node"
    right: "Node"
    at: Place


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`first + a - b ...`, from left to right; a long sum is one node, so that its length is no depth."""

    first: "Node"
    rest: "tuple[tuple[str, Node], ...]"
    at: Place


@dataclass(frozen=True, slots=True)
class Logic:
    """`a && b && ...` or `a || b || ...`"""

    operator: str
    parts: "tuple[Node, ...]"
    at: Place


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? yes : no`"""

    condition: "Node"
    yes: "Node"
    no: "Node"
    at: Place


@dataclass(frozen=True, slots=True)
class ListOf:
    items: "tuple[Node, ...]"
    at: Place


@dataclass(frozen=True, slots=True)
class MapOf:
    entries: "tuple[tuple[Node, Node], ...]"
    at: Place


@dataclass(frozen=True, slots=True)
class Message:
    """`google.protobuf.Type{field: value}`"""

    type_name: "Node"
    fields: "tuple[tuple[str, Node], ...]"
    at: Place


Node = Literal | Name | Field | Index | Call | Unary | Relation | Arithmetic | Logic | Choice | ListOf | MapOf | Message
