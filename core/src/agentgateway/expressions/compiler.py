"""Syntax tree to closures.

`build` tries this compiler first; an expression with a construct of cel-python's own (types as values, protobuf
messages, `reduce`) goes to `fallback` as a whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentgateway.expressions import closures, macros, syntax
from agentgateway.expressions.closures import Run
from agentgateway.expressions.environment import Environment
from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.expression import Expression
from agentgateway.expressions.library.function import Function
from agentgateway.expressions.parser import parse
from agentgateway.expressions.scope import ForeignConstruct, Record, Scope, Variable
from agentgateway.expressions.values import invert, make_map, negate


def build(source: str, environment: Environment) -> Expression:
    tree = parse(source)
    scope = Scope(environment)
    try:
        run = Compiler(scope).code(tree).run
    except ForeignConstruct:
        # Not at the top: cel-python's evaluator costs 200 ms, and hardly an expression needs it.
        from agentgateway.expressions.fallback import translate

        scope = Scope(environment)
        return Expression(source, translate(tree, scope), scope.getters, native=False)
    return Expression(source, run, scope.getters)


_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Code:
    """A closure and what is known of it at load: its constant value, and how an error calls it."""

    run: Run
    value: Any = _UNKNOWN
    label: str = ""

    @property
    def constant(self) -> bool:
        return self.value is not _UNKNOWN


def _constant(value: Any) -> Code:
    return Code(closures.constant(value), value)


class Compiler:
    """One method per kind of node; each gives `Code`."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def code(self, node: syntax.Node) -> Code:
        made: Code = getattr(self, f"_{type(node).__name__.lower()}")(node)
        return made

    def run(self, node: syntax.Node) -> Run:
        return self.code(node).run

    def _folded(self, run: Run, *operands: Code) -> Code:
        """Constant when all operands are. One that fails stays a closure: `1 / 0 == 0 || true` is true."""
        if all(operand.constant for operand in operands):
            try:
                return _constant(run(None))
            except ExpressionError:
                return Code(run)
        return Code(run)

    def _literal(self, node: syntax.Literal) -> Code:
        return _constant(node.value)

    # Names

    def _name(self, node: syntax.Name) -> Code:
        return self._variable(node) or Code(self.scope.local(node), label=node.name)

    def _field(self, node: syntax.Field) -> Code:
        return self._variable(node) or self._selected(self.code(node.operand), node.name)

    def _index(self, node: syntax.Index) -> Code:
        variable = self._variable(node)
        if variable is not None:
            return variable
        operand, key = self.code(node.operand), self.code(node.key)
        if type(key.value) is str:
            return self._selected(operand, key.value, f'["{key.value}"]')
        return self._folded(closures.indexed(operand.run, key.run), operand, key)

    def _selected(self, operand: Code, name: str, shown: str = "") -> Code:
        label = f"{operand.label}{shown or f'.{name}'}"
        made = self._folded(closures.select(operand.run, name, label), operand)
        return Code(made.run, made.value, label)

    def _variable(self, node: syntax.Node) -> Code | None:
        found = self.scope.variable(node)
        match found:
            case Variable():
                return Code(self.scope.read(found), label=found.path)
            case Record():
                return Code(self.scope.read_all(found), label=found.path)
        return None

    # Operators

    def _unary(self, node: syntax.Unary) -> Code:
        operand = self.code(node.operand)
        run, operation = operand.run, invert if node.operator == "!" else negate
        return self._folded(lambda subject: operation(run(subject)), operand)

    def _relation(self, node: syntax.Relation) -> Code:
        left, right = self.code(node.left), self.code(node.right)
        match node.operator:
            case "==" | "!=":
                run = self._equality(left, right, negated=node.operator == "!=")
            case "in":
                run = self._membership(left, right)
            case _ if right.constant:
                run = closures.compared_to(node.operator, left.run, right.value)
            case _:
                run = closures.compared(node.operator, left.run, right.run)
        return self._folded(run, left, right)

    @staticmethod
    def _equality(left: Code, right: Code, *, negated: bool) -> Run:
        if right.constant:
            return closures.equal_to(left.run, right.value, negated=negated)
        if left.constant:
            return closures.equal_to(right.run, left.value, negated=negated)
        return closures.equal(left.run, right.run, negated=negated)

    @staticmethod
    def _membership(item: Code, container: Code) -> Run:
        if type(container.value) is list:
            return closures.one_of(item.run, container.value)
        if type(item.value) is str:
            return closures.member(item.value, container.run)
        return closures.contained(item.run, container.run)

    def _arithmetic(self, node: syntax.Arithmetic) -> Code:
        first = self.code(node.first)
        rest = [(name, self.code(operand)) for name, operand in node.rest]
        run = closures.folded(first.run, tuple((name, code.run) for name, code in rest))
        return self._folded(run, first, *[code for _, code in rest])

    def _logic(self, node: syntax.Logic) -> Code:
        parts = [self.code(part) for part in node.parts]
        join = closures.conjunction if node.operator == "&&" else closures.disjunction
        return self._folded(join(tuple(part.run for part in parts)), *parts)

    def _choice(self, node: syntax.Choice) -> Code:
        parts = (self.code(node.condition), self.code(node.yes), self.code(node.no))
        return self._folded(closures.choice(*[part.run for part in parts]), *parts)

    # Literals of several parts

    def _listof(self, node: syntax.ListOf) -> Code:
        parts = [self.code(item) for item in node.items]
        runs = tuple(part.run for part in parts)
        return self._folded(lambda subject: [run(subject) for run in runs], *parts)

    def _mapof(self, node: syntax.MapOf) -> Code:
        keys = [self.code(key) for key, _ in node.entries]
        values = [self.code(value) for _, value in node.entries]
        key_runs, value_runs = [key.run for key in keys], [value.run for value in values]

        def run(subject: Any) -> dict[Any, Any]:
            return make_map([key(subject) for key in key_runs], [value(subject) for value in value_runs])

        return self._folded(run, *keys, *values)

    def _message(self, node: syntax.Message) -> Code:
        raise ForeignConstruct

    # Calls

    def _call(self, node: syntax.Call) -> Code:
        name, arguments = self.scope.callee(node)
        if name in _FORMS:
            return _FORMS[name](self, node)
        if node.target is not None and name in macros.BINDING:
            return self._macro(node, node.target)
        if self.scope.is_foreign_call(name):
            raise ForeignConstruct
        own = self.scope.environment.functions.get(name)
        if own is not None:
            codes = [self.code(argument) for argument in arguments]
            return Code(closures.applied(self.scope.guarded(name, own), tuple(code.run for code in codes)))
        return self._library_call(self.scope.function(name, len(arguments), node), arguments, node)

    def _library_call(self, function: Function, arguments: tuple[syntax.Node, ...], node: syntax.Call) -> Code:
        codes = [self.code(argument) for argument in arguments]
        _check_literals(function, codes, node)
        shortcut = _SHORTCUTS.get(function.name)
        if shortcut is not None and len(codes) == 2 and type(codes[1].value) is str:
            return self._folded(shortcut(codes[0].run, codes[1].value), *codes)
        made = closures.applied(function.call, tuple(code.run for code in codes))
        return self._folded(made, *codes) if function.pure else Code(made)

    def _macro(self, node: syntax.Call, target: syntax.Node) -> Code:
        """`target.map(x, body)` and its kin; `map` also takes a condition before the body."""
        most = 3 if node.name == "map" else 2
        binding, *bodies = node.arguments or (node,)
        if not 1 <= len(bodies) < most or not isinstance(binding, syntax.Name):
            raise node.at.error(f"{node.name}() takes a name and an expression, as in x.{node.name}(y, y)")
        outer = self.run(target)
        with self.scope.bound(binding.name):
            inner = [self.run(body) for body in bodies]
        if len(inner) == 2:
            return Code(macros.mapped_where(outer, inner[0], inner[1]))
        return Code(macros.BINDING[node.name](outer, inner[0]))

    def _has(self, node: syntax.Call) -> Code:
        if node.target is not None or len(node.arguments) != 1:
            raise node.at.error("has() takes one field, as in has(jwt.sub)")
        (argument,) = node.arguments
        if not isinstance(argument, syntax.Name | syntax.Field | syntax.Index):
            raise argument.at.error("has() takes a field, as in has(jwt.sub)")
        found = self.scope.variable(argument)
        if found is not None:
            first = found.variables[0] if isinstance(found, Record) else found
            return Code(closures.resolves(self.scope.read(first)))
        if isinstance(argument, syntax.Field):
            return Code(closures.present(self.run(argument.operand), argument.name))
        return Code(closures.resolves(self.run(argument)))

    def _default(self, node: syntax.Call) -> Code:
        arguments = self.scope.callee(node)[1]
        if len(arguments) != 2:
            raise node.at.error("default() takes two arguments")
        return Code(macros.default(self.run(arguments[0]), self.run(arguments[1])))

    def _coalesce(self, node: syntax.Call) -> Code:
        arguments = self.scope.callee(node)[1]
        if not arguments:
            raise node.at.error("coalesce() takes at least one argument")
        return Code(macros.coalesce(tuple(self.run(argument) for argument in arguments)))


_FORMS: dict[str, Callable[[Compiler, syntax.Call], Code]] = {
    "has": Compiler._has,
    "default": Compiler._default,
    "coalesce": Compiler._coalesce,
}


# For a constant second argument: what is left to do on a request.
_SHORTCUTS: dict[str, Callable[[Run, str], Run]] = {
    "startsWith": closures.starting,
    "endsWith": closures.ending,
    "matches": closures.matching,
}


def _check_literals(function: Function, codes: list[Code], node: syntax.Call) -> None:
    """A pattern, network or date in the text that cannot work is a mistake to tell at load."""
    if function.literals:
        position = 1 if function.least > 1 else 0
        if type(codes[position].value) is str:
            try:
                probe = ["" for _ in codes]
                probe[position] = codes[position].value
                function.call(*probe)
            except ExpressionError as error:
                raise node.at.error(str(error)) from None
