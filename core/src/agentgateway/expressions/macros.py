"""The calls whose arguments are not simply evaluated: they bind a variable, or survive a failing argument.

A body runs on the pair `(outer argument, element)`; see `closures`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from agentgateway.expressions.closures import Failure, Run
from agentgateway.expressions.errors import MissingError
from agentgateway.expressions.values import kind, no_overload


def _elements(name: str, target: Any) -> Iterable[Any]:
    if kind(target) not in ("list", "map"):
        raise no_overload(name, target)
    elements: Iterable[Any] = target
    return elements


def _held(name: str, value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise no_overload(name, value)


def exhaustive(name: str, decisive: bool) -> Callable[[Run, Run], Run]:
    """`all` (a False decides) and `exists` (a True decides); a failing element matters only if nothing decides."""

    def macro(target: Run, body: Run) -> Run:
        def result(subject: Any) -> bool:
            failure: Exception | None = None
            for element in _elements(name, target(subject)):
                try:
                    if _held(name, body((subject, element))) is decisive:
                        return decisive
                except Failure as error:
                    failure = error
            if failure is not None:
                raise failure
            return not decisive

        return result

    return macro


def exists_one(target: Run, body: Run) -> Run:
    def result(subject: Any) -> bool:
        elements = _elements("exists_one", target(subject))
        return sum(_held("exists_one", body((subject, element))) for element in elements) == 1

    return result


def filtered(target: Run, body: Run) -> Run:
    def result(subject: Any) -> list[Any]:
        elements = _elements("filter", target(subject))
        return [element for element in elements if _held("filter", body((subject, element)))]

    return result


def mapped(target: Run, body: Run) -> Run:
    return lambda subject: [body((subject, element)) for element in _elements("map", target(subject))]


def mapped_where(target: Run, condition: Run, body: Run) -> Run:
    """`map(x, condition, body)`"""

    def result(subject: Any) -> list[Any]:
        frames = ((subject, element) for element in _elements("map", target(subject)))
        return [body(frame) for frame in frames if _held("map", condition(frame))]

    return result


def with_(target: Run, body: Run) -> Run:
    """`value.with(name, body)`: a local name, which CEL lacks."""
    return lambda subject: body((subject, target(subject)))


def map_values(target: Run, body: Run) -> Run:
    def result(subject: Any) -> dict[Any, Any]:
        mapping = target(subject)
        if kind(mapping) != "map":
            raise no_overload("mapValues", mapping)
        return {key: body((subject, value)) for key, value in mapping.items()}

    return result


def filter_keys(target: Run, body: Run) -> Run:
    def result(subject: Any) -> dict[Any, Any]:
        mapping = target(subject)
        if kind(mapping) != "map":
            raise no_overload("filterKeys", mapping)
        return {key: value for key, value in mapping.items() if _held("filterKeys", body((subject, key)))}

    return result


BINDING: dict[str, Callable[[Run, Run], Run]] = {
    "all": exhaustive("all", False),
    "exists": exhaustive("exists", True),
    "exists_one": exists_one,
    "filter": filtered,
    "map": mapped,
    "with": with_,
    "mapValues": map_values,
    "filterKeys": filter_keys,
}


def default(run: Run, otherwise: Run) -> Run:
    """`default(x, y)`: y when x is null or something it names is missing; any other failure of x remains one."""

    def result(subject: Any) -> Any:
        try:
            value = run(subject)
        except (MissingError, KeyError):
            return otherwise(subject)
        return otherwise(subject) if value is None else value

    return result


def coalesce(runs: tuple[Run, ...]) -> Run:
    """The first that neither fails nor is null; null if there is none but one was null."""

    def result(subject: Any) -> Any:
        failure: Exception | None = None
        was_null = False
        for run in runs:
            try:
                value = run(subject)
            except Failure as error:
                failure = error
                continue
            if value is not None:
                return value
            was_null = True
        if failure is not None and not was_null:
            raise failure
        return None

    return result
