"""Our syntax tree as one for cel-python's interpreter."""

from typing import Any, NoReturn

import celpy
import lark
from lark.tree import Meta

from agentgateway.expressions import syntax
from agentgateway.expressions.celvalues import to_cel
from agentgateway.expressions.closures import Run
from agentgateway.expressions.scope import CALL_FORMS, FOREIGN_CALLS, ForeignConstruct, Record, Scope

_META: Any = Meta  # lark has no annotations here
_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map", "reduce"})
_RELATIONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne", "in": "in"}
_ARITHMETIC = {
    "+": ("addition", "addition_add"),
    "-": ("addition", "addition_sub"),
    "*": ("multiplication", "multiplication_mul"),
    "/": ("multiplication", "multiplication_div"),
    "%": ("multiplication", "multiplication_mod"),
}


class Translator:
    """Our tree as cel-python's, without the rules that only carry one child."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.variables: dict[str, Run] = {}
        self.constants: dict[str, Any] = {}
        self._reads: dict[str, str] = {}

    def tree(self, node: syntax.Node) -> lark.Tree[Any]:
        made: lark.Tree[Any] = getattr(self, f"_{type(node).__name__.lower()}")(node)
        return made

    def _make(self, at: syntax.Place, rule: str, *children: Any) -> lark.Tree[Any]:
        meta = _META()
        meta.empty, meta.line, meta.column = False, at.line, at.column
        return lark.Tree(rule, list(children), meta)

    def _ident(self, at: syntax.Place, name: str) -> lark.Tree[Any]:
        return self._make(at, "primary", self._make(at, "ident", lark.Token("IDENT", name)))

    def _apply(self, at: syntax.Place, name: str, *arguments: lark.Tree[Any]) -> lark.Tree[Any]:
        exprlist = self._make(at, "exprlist", *arguments)
        return self._make(at, "primary", self._make(at, "ident_arg", lark.Token("IDENT", name), exprlist))

    def _literal(self, node: syntax.Literal) -> lark.Tree[Any]:
        name = f"_agentgateway_constant_{len(self.constants)}_"
        self.constants[name] = to_cel(node.value)
        return self._ident(node.at, name)

    def _read(self, node: syntax.Node) -> lark.Tree[Any] | None:
        found = self.scope.variable(node)
        if found is None:
            return None
        name = self._reads.setdefault(found.path, f"_agentgateway_variable_{len(self._reads)}_")
        if name not in self.variables:
            # Outside any macro: cel-python evaluates macros itself.
            outer = Scope(self.scope.environment)
            self.variables[name] = outer.read_all(found) if isinstance(found, Record) else outer.read(found)
            self.scope.getters.update(outer.getters)
        return self._ident(node.at, name)

    def _name(self, node: syntax.Name) -> lark.Tree[Any]:
        try:
            return self._read(node) or self._ident(node.at, node.name)
        except ForeignConstruct:
            return self._ident(node.at, node.name)

    def _field(self, node: syntax.Field) -> lark.Tree[Any]:
        read = self._read(node)
        if read is not None:
            return read
        return self._make(node.at, "member_dot", self.tree(node.operand), lark.Token("IDENT", node.name))

    def _index(self, node: syntax.Index) -> lark.Tree[Any]:
        read = self._read(node)
        if read is not None:
            return read
        return self._make(node.at, "member_index", self.tree(node.operand), self.tree(node.key))

    def _unary(self, node: syntax.Unary) -> lark.Tree[Any]:
        operation = self._make(node.at, "unary_not" if node.operator == "!" else "unary_neg")
        return self._make(node.at, "unary", operation, self.tree(node.operand))

    def _relation(self, node: syntax.Relation) -> lark.Tree[Any]:
        left = self._make(node.at, f"relation_{_RELATIONS[node.operator]}", self.tree(node.left))
        return self._make(node.at, "relation", left, self.tree(node.right))

    def _arithmetic(self, node: syntax.Arithmetic) -> lark.Tree[Any]:
        made = self.tree(node.first)
        for name, operand in node.rest:
            rule, operation = _ARITHMETIC[name]
            made = self._make(node.at, rule, self._make(node.at, operation, made), self.tree(operand))
        return made

    def _logic(self, node: syntax.Logic) -> lark.Tree[Any]:
        rule = "conditionaland" if node.operator == "&&" else "conditionalor"
        made, *rest = [self.tree(part) for part in node.parts]
        for part in rest:
            made = self._make(node.at, rule, made, part)
        return made

    def _choice(self, node: syntax.Choice) -> lark.Tree[Any]:
        return self._make(node.at, "expr", *[self.tree(part) for part in (node.condition, node.yes, node.no)])

    def _listof(self, node: syntax.ListOf) -> lark.Tree[Any]:
        if not node.items:
            return self._make(node.at, "primary", self._make(node.at, "list_lit"))
        items = self._make(node.at, "exprlist", *[self.tree(item) for item in node.items])
        return self._make(node.at, "primary", self._make(node.at, "list_lit", items))

    def _mapof(self, node: syntax.MapOf) -> lark.Tree[Any]:
        parts = [self.tree(part) for entry in node.entries for part in entry]
        return self._apply(node.at, "@map", *parts)

    def _message(self, node: syntax.Message) -> lark.Tree[Any]:
        name = _dotted(node.type_name)
        if name not in celpy.googleapis:
            raise node.at.error(f"unknown message type {name}")
        parts: list[Any] = []
        for field, value in node.fields:
            parts += [lark.Token("IDENT", field), self._make(node.at, "expr", self.tree(value))]
        head, *names = name.split(".")
        owner = self._ident(node.at, head)
        for part in names:
            owner = self._make(node.at, "member_dot", owner, lark.Token("IDENT", part))
        fields = [self._make(node.at, "fieldinits", *parts)] if parts else []
        return self._make(node.at, "member_object", owner, *fields)

    def _call(self, node: syntax.Call) -> lark.Tree[Any]:
        name, arguments = self.scope.callee(node)
        if name == "has" and node.target is None and len(arguments) == 1:
            return self._apply(node.at, "has", self.tree(arguments[0]))
        if node.target is not None and name in _MACROS:
            return self._macro(node, node.target)
        if name in CALL_FORMS or name in ("with", "mapValues", "filterKeys"):
            self._refuse(node, name)
        known = name in self.scope.environment.functions or name in FOREIGN_CALLS
        if not known:
            self.scope.function(name, len(arguments), node)
        return self._apply(node.at, name, *[self.tree(argument) for argument in arguments])

    @staticmethod
    def _refuse(node: syntax.Call, name: str) -> NoReturn:
        raise node.at.error(
            f"{name}() cannot stand in one expression with types as values, messages or reduce(), "
            "which only cel-python evaluates"
        )

    def _macro(self, node: syntax.Call, target: syntax.Node) -> lark.Tree[Any]:
        names = node.arguments[: 2 if node.name == "reduce" else 1]
        bodies = node.arguments[len(names) :]
        wanted = 4 if node.name == "reduce" else 2
        bound = [name.name for name in names if isinstance(name, syntax.Name)]
        if len(node.arguments) != wanted or len(bound) != len(names):
            raise node.at.error(f"{node.name}() in cel-python takes {wanted} arguments, names first")
        outer = self._apply(node.at, "@iterable", self.tree(target))
        inner = [self._bound_tree(bound, body) for body in bodies]
        if node.name in ("all", "exists", "exists_one", "filter"):
            inner = [self._apply(node.at, "@condition", *inner)]
        idents = [
            self._make(node.at, "expr", self._make(node.at, "ident", lark.Token("IDENT", name))) for name in bound
        ]
        exprlist = self._make(node.at, "exprlist", *idents, *inner)
        return self._make(node.at, "member_dot_arg", outer, lark.Token("IDENT", node.name), exprlist)

    def _bound_tree(self, names: list[str], body: syntax.Node) -> lark.Tree[Any]:
        if not names:
            return self.tree(body)
        with self.scope.bound(names[0]):
            return self._bound_tree(names[1:], body)


def _dotted(node: syntax.Node) -> str:
    match node:
        case syntax.Name(name=name):
            return name
        case syntax.Field(operand=operand, name=name):
            return f"{_dotted(operand)}.{name}"
    raise node.at.error("a message begins with the name of its type")
