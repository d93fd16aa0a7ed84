"""The closures an expression is made of: one argument in, one native value out.

The argument is the subject; inside a macro it is the pair `(outer argument, element)`. Each factory knows at load what
it can (a constant, the type to expect) and leaves the rare cases to `values`. An absent variable is the getter's own
`KeyError`, which travels up to the next `||`, `has` or `default`, or to `Expression`.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from agentgateway.expressions.errors import ExpressionError, MissingError
from agentgateway.expressions.library.function import text
from agentgateway.expressions.library.regexes import pattern
from agentgateway.expressions.library.strings import ends_with, starts_with
from agentgateway.expressions.values import (
    COMPARISONS,
    INT_MAX,
    INT_MIN,
    KINDS,
    arithmetic,
    compare,
    contains,
    equals,
    index,
    no_overload,
)

Run = Callable[[Any], Any]
Failure = (ExpressionError, KeyError)
_SCALARS = frozenset({str, int, float, bool, bytes})


def constant(value: Any) -> Run:
    return lambda subject: value


def select(run: Run, name: str, label: str) -> Run:
    """`run.name` or `run["name"]`; `label` names it in an error."""

    def selected(subject: Any) -> Any:
        container = run(subject)
        container_type = type(container)
        if container_type is dict or KINDS.get(container_type) == "map":
            try:
                return container[name]
            except KeyError:
                raise MissingError(label) from None
        return index(container, name, label)

    return selected


def present(run: Run, name: str) -> Run:
    """`has(run.name)`"""

    def tested(subject: Any) -> bool:
        try:
            container = run(subject)
            if type(container) is dict:
                return name in container
            index(container, name)
        except Failure:
            return False
        return True

    return tested


def resolves(run: Run) -> Run:
    """`has(run)`"""

    def tested(subject: Any) -> bool:
        try:
            run(subject)
        except Failure:
            return False
        return True

    return tested


def indexed(run: Run, key: Run) -> Run:
    return lambda subject: index(run(subject), key(subject))


def equal_to(run: Run, expected: Any, *, negated: bool) -> Run:
    """`run == expected` with a constant on one side."""
    expected_type = type(expected)
    if expected_type not in _SCALARS:
        return equal(run, constant(expected), negated=negated)

    def same(subject: Any) -> bool:
        value = run(subject)
        return value == expected if type(value) is expected_type else equals(value, expected)

    def different(subject: Any) -> bool:
        value = run(subject)
        return value != expected if type(value) is expected_type else not equals(value, expected)

    return different if negated else same


def equal(left: Run, right: Run, *, negated: bool) -> Run:
    def same(subject: Any) -> bool:
        return equals(left(subject), right(subject))

    def different(subject: Any) -> bool:
        return not equals(left(subject), right(subject))

    return different if negated else same


def compared_to(name: str, run: Run, bound: Any) -> Run:
    """`run < bound` with a constant on the right."""
    bound_type, test = type(bound), COMPARISONS[name]
    if bound_type not in (str, int, float):
        return compared(name, run, constant(bound))

    def holds(subject: Any) -> Any:
        value = run(subject)
        return test(value, bound) if type(value) is bound_type else compare(name, value, bound)

    return holds


def compared(name: str, left: Run, right: Run) -> Run:
    return lambda subject: compare(name, left(subject), right(subject))


def one_of(run: Run, members: Sequence[Any]) -> Run:
    """`run in [...]` with a constant list."""
    member_type = type(members[0]) if members else None
    if member_type not in (str, int) or any(type(member) is not member_type for member in members):
        return lambda subject: contains(run(subject), members)
    known = frozenset(members)

    def holds(subject: Any) -> bool:
        value = run(subject)
        return value in known if type(value) is member_type else contains(value, members)

    return holds


def member(item: str, run: Run) -> Run:
    """`"item" in run`. Finding it settles the question; not finding it does so only among strings."""

    def holds(subject: Any) -> bool:
        container = run(subject)
        if (type(container) is list or type(container) is dict) and item in container:
            return True
        return contains(item, container)

    return holds


def starting(run: Run, prefix: str) -> Run:
    """`run.startsWith("prefix")`"""

    def holds(subject: Any) -> bool:
        value = run(subject)
        return value.startswith(prefix) if type(value) is str else starts_with(value, prefix)

    return holds


def ending(run: Run, suffix: str) -> Run:
    """`run.endsWith("suffix")`"""

    def holds(subject: Any) -> bool:
        value = run(subject)
        return value.endswith(suffix) if type(value) is str else ends_with(value, suffix)

    return holds


def matching(run: Run, source: str) -> Run:
    """`run.matches("source")`, the pattern compiled at load."""
    search = pattern(source).search
    return lambda subject: search(text("matches", run(subject))) is not None


def contained(item: Run, container: Run) -> Run:
    return lambda subject: contains(item(subject), container(subject))


def conjunction(parts: tuple[Run, ...]) -> Run:
    """`&&`: False wins over a part that fails, wherever it stands."""

    def holds(subject: Any) -> bool:
        failure: Exception | None = None
        for part in parts:
            try:
                value = part(subject)
            except Failure as error:
                failure = error
                continue
            if value is False:
                return False
            if value is not True:
                failure = no_overload("_&&_", value)
        if failure is not None:
            raise failure
        return True

    return holds


def disjunction(parts: tuple[Run, ...]) -> Run:
    """`||`: True wins over a part that fails, wherever it stands."""

    def holds(subject: Any) -> bool:
        failure: Exception | None = None
        for part in parts:
            try:
                value = part(subject)
            except Failure as error:
                failure = error
                continue
            if value is True:
                return True
            if value is not False:
                failure = no_overload("_||_", value)
        if failure is not None:
            raise failure
        return False

    return holds


def choice(condition: Run, yes: Run, no: Run) -> Run:
    def chosen(subject: Any) -> Any:
        held = condition(subject)
        if held is True:
            return yes(subject)
        if held is False:
            return no(subject)
        raise no_overload("_?_:_", held)

    return chosen


_INT_OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def calculated(name: str, left: Run, right: Run) -> Run:
    of_ints = _INT_OPERATIONS.get(name)
    if of_ints is None:
        return lambda subject: arithmetic(name, left(subject), right(subject))

    def result(subject: Any) -> Any:
        a, b = left(subject), right(subject)
        if type(a) is int and type(b) is int and INT_MIN <= (made := of_ints(a, b)) <= INT_MAX:
            return made
        return arithmetic(name, a, b)

    return result


def folded(first: Run, rest: tuple[tuple[str, Run], ...]) -> Run:
    """A chain of `+ - * / %`, from left to right."""
    if len(rest) == 1:
        return calculated(rest[0][0], first, rest[0][1])

    def result(subject: Any) -> Any:
        value = first(subject)
        for name, run in rest:
            value = arithmetic(name, value, run(subject))
        return value

    return result


def applied(function: Callable[..., Any], runs: tuple[Run, ...]) -> Run:
    """A function of the library, which raises nothing but `ExpressionError`."""
    if len(runs) == 1:
        only = runs[0]
        return lambda subject: function(only(subject))
    if len(runs) == 2:
        first, second = runs
        return lambda subject: function(first(subject), second(subject))
    return lambda subject: function(*[run(subject) for run in runs])
