"""What a name means at a place of the expression: a variable, a macro's element, a function, or a mistake."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from agentgateway.expressions import syntax
from agentgateway.expressions.closures import Run
from agentgateway.expressions.environment import Branch, Deferred, Environment, Getter, close_to
from agentgateway.expressions.errors import ExpressionError, UnknownVariable
from agentgateway.expressions.library import library
from agentgateway.expressions.library.function import Function
from agentgateway.expressions.macros import BINDING

CALL_FORMS = frozenset({"has", "default", "coalesce"})
FOREIGN_CALLS = frozenset({"type", "reduce", "list", "map"})
FOREIGN_NAMES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"})


class ForeignConstruct(Exception):
    """Only cel-python can evaluate this."""


@dataclass(frozen=True, slots=True)
class Variable:
    path: str
    getter: Getter


@dataclass(frozen=True, slots=True)
class Record:
    """A root, or a name below it, that exists only through longer paths."""

    path: str
    variables: tuple[Variable, ...]


class Scope:
    """The environment, the macros around the place, and the variables read so far (`getters`)."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.getters: dict[str, Getter] = {}
        self._bound: list[str] = []

    @contextmanager
    def bound(self, name: str) -> Iterator[None]:
        self._bound.append(name)
        yield
        self._bound.pop()

    def is_bound(self, name: str) -> bool:
        return name in self._bound

    # Variables

    def variable(self, node: syntax.Node) -> Variable | Record | None:
        """The variable that this selection as a whole names; None when it selects from one, or from something else.

        Raises `ExpressionSyntaxError` for a name that the environment cannot know.
        """
        names = self._path(node)
        if names is None or self.is_bound(names[0]):
            return None
        branch = self.environment.root
        inside = False
        for index, name in enumerate(names):
            below = branch.children.get(name)
            if below is None:
                if inside:
                    self._check_members(branch, names[index:], node)
                    return None
                raise self._unknown(name, branch, node)
            branch = below
            inside = inside or branch.getter is not None
        if branch.getter is not None:
            return self._declared(branch, node)
        if inside:
            return None
        return Record(branch.path, tuple(self._declared(leaf, node) for leaf in branch.variables()))

    def _check_members(self, branch: Branch, names: list[str], node: syntax.Node) -> None:
        """Refuse names inside a variable that says what it has."""
        if branch.getter is None:
            return
        path, members = branch.path, getattr(self._declared(branch, node).getter, "members", None)
        for name in names:
            if members is None:
                return
            if name not in members:
                raise node.at.error(f"{path} has no field {name}{close_to(name, members)}")
            path, members = f"{path}.{name}", members[name]

    @staticmethod
    def _declared(branch: Branch, node: syntax.Node) -> Variable:
        """The variable of that branch, its getter imported if need be."""
        getter = branch.getter
        assert getter is not None
        if isinstance(getter, Deferred):
            try:
                getter = getter.load()
            except Exception as error:
                raise node.at.error(f"{branch.path} cannot be loaded: {type(error).__name__}") from error
        return Variable(branch.path, getter)

    @staticmethod
    def _path(node: syntax.Node) -> list[str] | None:
        """The names of `a.b["c"]`, if it is nothing but names."""
        names: list[str] = []
        while True:
            match node:
                case syntax.Name(name=name):
                    return [name, *reversed(names)]
                case syntax.Field(operand=operand, name=name):
                    names.append(name)
                case syntax.Index(operand=operand, key=syntax.Literal(value=str() as name)):
                    names.append(name)
                case _:
                    return None
            node = operand

    def _unknown(self, name: str, branch: Branch, node: syntax.Node) -> Exception:
        if branch is self.environment.root:
            if name in FOREIGN_NAMES:
                return ForeignConstruct()
            known = [*branch.children, *self._bound]
            message = f"unknown variable {name}{close_to(name, known)}"
            return UnknownVariable(name, message, node.at.line, node.at.column)
        return node.at.error(f"{branch.path} has no field {name}{close_to(name, branch.children)}")

    def read(self, variable: Variable) -> Run:
        """The closure that reads it, from inside as many macros as there are here."""
        self.getters[variable.path] = variable.getter
        return _from_within(len(self._bound), variable.getter)

    def read_all(self, record: Record) -> Run:
        """A map of the children that are present."""
        prefix = len(record.path) + 1
        reads = [(variable.path[prefix:].split("."), self.read(variable)) for variable in record.variables]

        def run(subject: Any) -> dict[str, Any]:
            made: dict[str, Any] = {}
            for names, read in reads:
                try:
                    value = read(subject)
                except KeyError:
                    continue
                inner = made
                for name in names[:-1]:
                    inner = inner.setdefault(name, {})
                inner[names[-1]] = value
            return made

        return run

    def local(self, node: syntax.Name) -> Run:
        """The closure that reads a macro's element."""
        innermost = len(self._bound) - 1
        position = innermost - self._bound[::-1].index(node.name)
        return _from_within(innermost - position, _element)

    # Functions

    def callee(self, node: syntax.Call) -> tuple[str, tuple[syntax.Node, ...]]:
        """The function's name and all its arguments: `base64.encode(x)` has one, `x.split(",")` two."""
        if node.target is None:
            return node.name, node.arguments
        names = self._path(node.target)
        if names is not None and not self.is_bound(names[0]):
            dotted = ".".join([*names, node.name])
            if dotted in self.environment.functions or dotted in library():
                return dotted, node.arguments
            if names[0] not in self.environment.root.children and self._is_namespace(names[0]):
                raise node.at.error(f"unknown function {dotted}{close_to(dotted, self._functions())}")
        return node.name, (node.target, *node.arguments)

    def _is_namespace(self, name: str) -> bool:
        return any(known.startswith(f"{name}.") for known in self._functions())

    def _functions(self) -> list[str]:
        return [*library(), *self.environment.functions, *BINDING, *CALL_FORMS]

    @staticmethod
    def is_foreign_call(name: str) -> bool:
        return name in FOREIGN_CALLS

    def function(self, name: str, count: int, node: syntax.Call) -> Function:
        """The library's function. Raises `ExpressionSyntaxError` for an unknown name or a wrong number of arguments."""
        function = library().get(name)
        if function is None:
            raise node.at.error(f"unknown function {name}{close_to(name, self._functions())}")
        if count < function.least or (function.most is not None and count > function.most):
            wanted = str(function.least) if function.least == function.most else f"{function.least} or more"
            raise node.at.error(f"{name}() takes {wanted} arguments counting what stands before the dot, not {count}")
        return function

    @staticmethod
    def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of the environment, which may be a plugin's: whatever it raises is an `ExpressionError`."""

        @wraps(function)
        def checked(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except ExpressionError:
                raise
            except Exception as error:
                raise ExpressionError(f"{name}() failed: {type(error).__name__}") from None

        return checked


def _element(frame: Any) -> Any:
    return frame[1]


def _from_within(levels: int, read: Run) -> Run:
    """`read` on the frame that many macros further out."""
    if levels == 0:
        return read
    if levels == 1:
        return lambda frame: read(frame[0])

    def outward(frame: Any) -> Any:
        for _ in range(levels):
            frame = frame[0]
        return read(frame)

    return outward
