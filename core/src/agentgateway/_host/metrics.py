"""Counting in plain dictionaries, exposed as Prometheus text.

An observation is a dictionary update by one thread: no lock, no object per label set. What is shown is read from a
`Snapshot`, a plain JSON value, so that a supervisor can add up the snapshots of its workers.

Formats: text 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/) and OpenMetrics 1.0.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Literal, TypeAlias, TypedDict

from agentgateway.interfaces import Counter

Labels: TypeAlias = tuple[str, ...]
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Read: TypeAlias = Callable[[], Mapping[Labels, float]]

PREFIX = "agentgateway_"
ROOM = 10_000
"""Label sets a metric may have; observations beyond them are counted under `_overflow`."""
OVERFLOW = "_overflow"
RESERVED = frozenset(("le", "quantile"))
"""Labels that mean something to Prometheus: the bounds of histograms and summaries."""
LATER = (
    *("downstream_connections", "downstream_received_bytes", "downstream_sent_bytes"),
    *("tls_handshake_duration_seconds", "guardrail_checks", "endpoint_evictions", "workers", "worker_restarts"),
)
"""Metrics of the core that not every configuration has, or that come when a port opens."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


Cells: TypeAlias = list[Sequence[Any]]
"""Pairs of a label set's values and its cell, both lists. A pair is a tuple, or a list once it was JSON. A cell is
`[value]`, or the counts of a histogram's buckets and their sum."""


class Family(TypedDict):
    """One metric at one moment."""

    name: str
    kind: Kind
    text: str
    labels: list[str]
    buckets: list[float]
    keep: Literal["sum", "max"]
    cells: Cells


Snapshot: TypeAlias = list[Family]


Cell: TypeAlias = list[float]
"""What is counted for one label set; whoever counts often keeps it and adds to it in place."""


class Count(Counter):
    """A counter with labels. A cell is `[value]`."""

    __slots__ = ("cells", "name", "names", "text")

    def __init__(self, name: str, text: str, names: Sequence[str]) -> None:
        self.name = name
        self.text = text
        self.names = tuple(names)
        self.cells: dict[Labels, Cell] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        try:
            self.cells[labels][0] += amount
        except KeyError:
            self.cell(labels)[0] += amount

    def cell(self, labels: Labels) -> Cell:
        return cell_of(self.cells, labels, 1)

    def family(self) -> Family:
        return _family(self.name, "counter", self.text, self.names, _listed(self.cells))


class Histogram:
    """Observations by label set. A cell has a count for each upper bound, one for what is above them, and the sum."""

    __slots__ = ("buckets", "cells", "name", "names", "text")

    def __init__(self, name: str, text: str, names: Sequence[str], buckets: Sequence[float]) -> None:
        self.name = name
        self.text = text
        self.names = tuple(names)
        self.buckets = list(buckets)
        self.cells: dict[Labels, Cell] = {}

    def observe(self, labels: Labels, value: float) -> None:
        try:
            cell = self.cells[labels]
        except KeyError:
            cell = self.cell(labels)
        cell[bisect_left(self.buckets, value)] += 1
        cell[-1] += value

    def cell(self, labels: Labels) -> Cell:
        return cell_of(self.cells, labels, len(self.buckets) + 2)

    def family(self) -> Family:
        return _family(self.name, "histogram", self.text, self.names, _listed(self.cells), self.buckets)


class Reading:
    """Values that are read when somebody looks."""

    __slots__ = ("keep", "kind", "name", "names", "read", "text")

    def __init__(
        self, name: str, kind: Kind, text: str, names: Sequence[str], read: Read, keep: Literal["sum", "max"]
    ) -> None:
        self.name = name
        self.kind = kind
        self.text = text
        self.names = tuple(names)
        self.read = read
        self.keep = keep

    def family(self) -> Family:
        cells: Cells = [(list(labels), [value]) for labels, value in self.read().items()]
        return _family(self.name, self.kind, self.text, self.names, cells, keep=self.keep)


class Metrics:
    """Every metric of the process. Asking twice for a name gives the same metric.

    `remove` names metrics that are counted but not shown, with or without the prefix `agentgateway_` and the suffix
    `_total`.
    """

    def __init__(self, remove: Collection[str] = ()) -> None:
        self._removed = frozenset(_plain(name) for name in remove)
        self._metrics: dict[str, Count | Histogram | Reading] = {}
        self.before: list[Callable[[], None]] = []
        """Called when somebody looks, by whoever counts later than it happens."""

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Count:
        """A counter; `name` ends in `_total`. Raises ValueError when the name is taken by a different metric."""
        found = self._metrics.setdefault(name, Count(name, text, labels))
        if not isinstance(found, Count) or found.names != tuple(labels):
            raise ValueError(f"{name} is another metric already")
        return found

    def histogram(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        """A histogram with those upper bounds, ascending. Raises ValueError when the name is taken."""
        found = self._metrics.setdefault(name, Histogram(name, text, labels, buckets))
        if not isinstance(found, Histogram) or found.names != tuple(labels) or found.buckets != list(buckets):
            raise ValueError(f"{name} is another metric already")
        return found

    def gauge(
        self, name: str, text: str, labels: Sequence[str], read: Read, *, keep: Literal["sum", "max"] = "sum"
    ) -> None:
        """A value for each label set, as `read` gives it when somebody looks; the latest `read` of a name counts.
        `keep` says what the values of several processes make together."""
        self._metrics[name] = Reading(name, "gauge", text, labels, read, keep)

    def reading(
        self, name: str, kind: Literal["counter", "gauge"], text: str, labels: Sequence[str], read: Read
    ) -> None:
        """The same for what somebody else counts."""
        self._metrics[name] = Reading(name, kind, text, labels, read, "sum")

    def known(self, name: str) -> bool:
        """Whether there is, or may come, a metric of that name, written as in `remove`."""
        return _plain(name) in LATER or any(_plain(name) == _plain(known) for known in self._metrics)

    def names(self) -> list[str]:
        """What `remove` may name."""
        return sorted({*LATER, *map(_plain, self._metrics)})

    def snapshot(self) -> Snapshot:
        for count in self.before:
            count()
        return [metric.family() for name, metric in self._metrics.items() if _plain(name) not in self._removed]

    def render(self) -> str:
        return render(self.snapshot())


def label_problem(name: str, taken: Collection[str] = ()) -> str:
    """What is wrong with the name of a label, or nothing
    (https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels)."""
    if _LABEL.fullmatch(name) is None:
        return "not a label's name: letters, digits and _ only, and no digit first"
    if name.startswith("__") or name in RESERVED:
        return "Prometheus keeps this label for itself"
    return "there is a label of that name already" if name in taken else ""


def cell_of(cells: dict[Labels, Cell], labels: Labels, size: int) -> Cell:
    """The cell of a label set; a new one only while there is room for it."""
    if labels not in cells and len(cells) >= ROOM:
        labels = (OVERFLOW,) * len(labels)
    return cells.setdefault(labels, [0] * size)


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The snapshots of several processes as one."""
    families: dict[str, Family] = {}
    cells: dict[str, dict[Labels, list[float]]] = {}
    for family in (family for snapshot in snapshots for family in snapshot):
        name = family["name"]
        families.setdefault(name, family)
        total = cells.setdefault(name, {})
        join = max if family["keep"] == "max" else float.__add__
        for names, cell in family["cells"]:
            key = tuple(names)
            known = total.get(key)
            values = [float(value) for value in cell]
            total[key] = values if known is None else [join(a, b) for a, b in zip(known, values, strict=True)]
    return [
        {**family, "cells": [(list(labels), cell) for labels, cell in cells[name].items()]}
        for name, family in families.items()
    ]


def lasting(snapshot: Snapshot) -> Snapshot:
    """What of a process outlives it: all but its gauges."""
    return [family for family in snapshot if family["kind"] != "gauge"]


def render(snapshot: Snapshot, *, openmetrics: bool = False) -> str:
    """Prometheus text 0.0.4, or OpenMetrics 1.0."""
    lines: list[str] = []
    for family in snapshot:
        title = family["name"]
        if openmetrics and family["kind"] == "counter":
            title = title.removesuffix("_total")
        lines.append(f"# HELP {title} {_help(family['text'])}")
        lines.append(f"# TYPE {title} {family['kind']}")
        lines.extend(_histogram(family) if family["kind"] == "histogram" else _samples(family))
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode("utf-8", "replace").decode()  # a label may hold half a surrogate pair


def _listed(cells: Mapping[Labels, Cell]) -> Cells:
    return [(list(labels), list(cell)) for labels, cell in cells.items()]


def _samples(family: Family) -> Iterator[str]:
    for labels, cell in family["cells"]:
        yield f"{family['name']}{_labels(family['labels'], labels)} {_number(cell[0])}"


def _histogram(family: Family) -> Iterator[str]:
    name, names = family["name"], family["labels"]
    bounds = [*(repr(float(bound)) for bound in family["buckets"]), "+Inf"]
    for labels, cell in family["cells"]:
        total = 0.0
        for bound, count in zip(bounds, cell, strict=False):
            total += count
            yield f"{name}_bucket{_labels([*names, 'le'], [*labels, bound])} {_number(total)}"
        yield f"{name}_sum{_labels(names, labels)} {_number(cell[-1])}"
        yield f"{name}_count{_labels(names, labels)} {_number(total)}"


def _family(
    name: str,
    kind: Kind,
    text: str,
    names: Sequence[str],
    cells: Cells,
    buckets: Sequence[float] = (),
    *,
    keep: Literal["sum", "max"] = "sum",
) -> Family:
    return Family(name=name, kind=kind, text=text, labels=list(names), buckets=list(buckets), keep=keep, cells=cells)


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if not isfinite(value):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _plain(name: str) -> str:
    return name.removeprefix(PREFIX).removesuffix("_total")
