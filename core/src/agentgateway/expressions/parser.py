"""Text to syntax tree, by cel-python's grammar.

`parse` is the only place that sees cel-python's parse tree. It bounds length and nesting.
"""

import re
import threading
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lark

from agentgateway.expressions.errors import ExpressionSyntaxError
from agentgateway.expressions.literals import LITERALS
from agentgateway.expressions.syntax import (
    Arithmetic,
    Call,
    Choice,
    Field,
    Index,
    ListOf,
    Literal,
    Logic,
    MapOf,
    Message,
    Name,
    Node,
    Place,
    Relation,
    Unary,
)

MAX_LENGTH = 32_768
MAX_DEPTH = 100

_PARSING = threading.Lock()


@cache
def _grammar() -> lark.Lark:
    """cel-python's grammar, read where it is installed with the options that it is written for (`celpy.celparser`).

    The package itself is not imported: parsing needs nothing else of it, and it costs 200 ms.
    """
    found = find_spec("celpy")
    assert found is not None and found.submodule_search_locations
    grammar = (Path(found.submodule_search_locations[0]) / "cel.lark").read_text()
    return lark.Lark(
        grammar,
        parser="lalr",
        start="expr",
        g_regex_flags=re.M,
        lexer_callbacks={"IDENT": _boolean},
        propagate_positions=True,
        maybe_placeholders=False,
        priority="invert",
    )


def _boolean(token: lark.Token) -> lark.Token:
    """`true` and `false` are literals, which the grammar leaves to its reader."""
    return lark.Token("BOOL_LIT", token.value) if token.value in ("true", "false") else token


@lru_cache(maxsize=512)
def parse(source: str) -> Node:
    """The syntax tree of `source`; raises `ExpressionSyntaxError`. The memo is for configurations that repeat rules."""
    if len(source) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"the expression has {len(source)} characters; at most {MAX_LENGTH} are allowed")
    _check_strings(source)
    with _PARSING:
        try:
            tree = _grammar().parse(source)
        except lark.exceptions.UnexpectedInput as error:
            raise _unexpected(source, error) from None
    return _Reader().node(tree)


def _unexpected(source: str, error: lark.exceptions.UnexpectedInput) -> ExpressionSyntaxError:
    token = getattr(error, "token", None)
    if isinstance(error, lark.exceptions.UnexpectedEOF) or (token is not None and token.type == "$END"):
        lines = source.split("\n")
        message = "the expression is empty" if not source.strip() else "the expression ends too early"
        return ExpressionSyntaxError(message, len(lines), len(lines[-1]) + 1)
    found = str(token) if token is not None else source[error.pos_in_stream or 0 :][:1]
    return ExpressionSyntaxError(f"unexpected {found!r}", error.line, error.column)


_STRINGS = re.compile(
    r"""//[^\n]*|(?P<raw>\b(?:[rR]|[bB][rR]))?(?P<quote>\"{3}|'{3}|"|')""",
)


def _check_strings(source: str) -> None:
    """Refuse a string that never ends: cel-python's lexer takes exponential time on one with many backslashes."""
    at = 0
    while (opened := _STRINGS.search(source, at)) is not None:
        at = opened.end()
        quote = opened["quote"]
        if quote is None:
            continue
        inside = r"." if opened["raw"] else r"\\.|[^\\]"
        closed = re.compile(rf"(?:{inside})*?{quote}", re.DOTALL).match(source, at)
        if closed is None or (len(quote) == 1 and "\n" in closed[0]):
            before = source[: opened.start()]
            line, column = before.count("\n") + 1, opened.start() - (before.rfind("\n") + 1) + 1
            raise ExpressionSyntaxError("this string is not closed", line, column)
        at = closed.end()


_PASS = frozenset(
    {
        "expr",
        "conditionalor",
        "conditionaland",
        "relation",
        "addition",
        "multiplication",
        "unary",
        "member",
        "primary",
        "paren_expr",
    }
)
_OPERATORS = {
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_in": "in",
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
    "unary_not": "!",
    "unary_neg": "-",
}


def _unwrap(tree: Any) -> Any:
    """Past the rules that only carry one child: each pair of parentheses goes through ten of them."""
    while tree.data in _PASS and len(tree.children) == 1:
        tree = tree.children[0]
    return tree


class _Reader:
    """Walks cel-python's tree; `depth` counts the nodes on the way down."""

    def __init__(self) -> None:
        self.depth = 0

    def node(self, tree: Any) -> Node:
        tree = _unwrap(tree)
        at = Place(getattr(tree.meta, "line", 1), getattr(tree.meta, "column", 1))
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise at.error(f"the expression is nested more than {MAX_DEPTH} levels deep")
        read = getattr(self, str(tree.data))
        made: Node = read(tree.children, at)
        self.depth -= 1
        return made

    def nodes(self, trees: Any) -> tuple[Node, ...]:
        return tuple(self.node(tree) for tree in trees)

    def expr(self, children: Any, at: Place) -> Node:
        condition, yes, no = children
        return Choice(self.node(condition), self.node(yes), self.node(no), at)

    def conditionalor(self, children: Any, at: Place) -> Node:
        return Logic("||", self._spine("conditionalor", children), at)

    def conditionaland(self, children: Any, at: Place) -> Node:
        return Logic("&&", self._spine("conditionaland", children), at)

    def _spine(self, rule: str, children: Any) -> tuple[Node, ...]:
        parts = []
        while True:
            parts.append(children[1])
            left = _unwrap(children[0])
            if left.data != rule:
                return self.nodes((left, *reversed(parts)))
            children = left.children

    def relation(self, children: Any, at: Place) -> Node:
        (operation, right) = children
        return Relation(_OPERATORS[operation.data], self.node(operation.children[0]), self.node(right), at)

    def addition(self, children: Any, at: Place) -> Node:
        rest = []
        while True:
            operation, right = children
            rest.append((_OPERATORS[operation.data], right))
            left = _unwrap(operation.children[0])
            if left.data not in ("addition", "multiplication"):
                break
            children = left.children
        first = self.node(left)
        return Arithmetic(first, tuple((name, self.node(tree)) for name, tree in reversed(rest)), at)

    multiplication = addition

    def unary(self, children: Any, at: Place) -> Node:
        operation, operand = children
        return Unary(_OPERATORS[operation.data], self.node(operand), at)

    def member_dot(self, children: Any, at: Place) -> Node:
        operand, name = children
        return Field(self.node(operand), str(name), at)

    def member_index(self, children: Any, at: Place) -> Node:
        operand, key = children
        return Index(self.node(operand), self.node(key), at)

    def member_dot_arg(self, children: Any, at: Place) -> Node:
        target, name, *rest = children
        arguments = self.nodes(rest[0].children) if rest else ()
        return Call(str(name), self.node(target), arguments, at)

    def member_object(self, children: Any, at: Place) -> Node:
        type_name, *rest = children
        parts = rest[0].children if rest else []
        fields = tuple((str(name), self.node(value)) for name, value in zip(parts[::2], parts[1::2], strict=True))
        return Message(self.node(type_name), fields, at)

    def ident_arg(self, children: Any, at: Place) -> Node:
        name, *rest = children
        return Call(str(name), None, self.nodes(rest[0].children) if rest else (), at)

    dot_ident_arg = ident_arg

    def ident(self, children: Any, at: Place) -> Node:
        return Name(str(children[0]), at)

    dot_ident = ident

    def list_lit(self, children: Any, at: Place) -> Node:
        return ListOf(self.nodes(children[0].children) if children else (), at)

    def map_lit(self, children: Any, at: Place) -> Node:
        parts = self.nodes(children[0].children) if children else ()
        return MapOf(tuple(zip(parts[::2], parts[1::2], strict=True)), at)

    def literal(self, children: Any, at: Place) -> Node:
        token = children[0]
        return Literal(LITERALS[token.type](str(token), at), at)
