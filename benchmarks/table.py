"""Results as rows, and rows as a table for people or JSON for programs."""

import operator
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}


@attrs.frozen
class Target:
    """What a figure has to reach."""

    comparison: str
    bound: float

    def reached(self, value: float) -> bool:
        """Whether a figure is good enough."""
        return _COMPARISONS[self.comparison](value, self.bound)

    def __str__(self) -> str:
        return f"{self.comparison} {number(self.bound)}"


@attrs.frozen
class Row:
    """
    One figure.

    @ivar case: what was measured, and with what.
    @ivar subject: whose figure it is; for a ratio, whose over whose.
    @ivar unit: C{ms}, C{us}, C{MiB}, C{x} for a ratio, ...
    """

    case: str
    subject: str
    value: float
    unit: str
    target: Target | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        plain = attrs.asdict(self, filter=lambda _, value: value not in (None, ""))
        if self.target is not None:
            plain["reached"] = self.target.reached(self.value)
        return plain


def number(value: float) -> str:
    """Three significant digits; whole numbers whole."""
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def median(values: Sequence[float]) -> float:
    """The median; not a number when there are none."""
    return statistics.median(values) if values else float("nan")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def show(rows: Iterable[Row]) -> str:
    """A table for people."""
    cells = [("case", "subject", "value", "unit", "target", "", "note")]
    for row in rows:
        verdict = "" if row.target is None else "ok" if row.target.reached(row.value) else "MISSED"
        cells.append((row.case, row.subject, number(row.value), row.unit, str(row.target or ""), verdict, row.note))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
