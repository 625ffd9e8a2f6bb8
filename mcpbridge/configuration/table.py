"""
One JSON object of a configuration, being read.

Hands its members out by type, expanded, and notes what is wrong instead of raising, so that one reading finds
everything. At the end it knows which members nobody asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

import attrs

from mcpbridge.configuration.expansion import expand
from mcpbridge.configuration.jsonc import Members
from mcpbridge.configuration.report import Path, Report, suggestion

Choice = TypeVar("Choice")

_Kind: TypeAlias = type | tuple[type, ...]
_NUMBER = (int, float)
#: In this order: to Python, true is a number.
_KINDS: tuple[tuple[_Kind, str], ...] = (
    (bool, "true or false"),
    (str, "a string"),
    (_NUMBER, "a number"),
    (list, "a list"),
    (dict, "an object"),
)


@attrs.define
class Table:
    """
    @ivar path: where the object is in the document.
    @ivar report: where mistakes go.
    """

    _members: Mapping[str, Any]
    path: Path
    report: Report
    _environment: Mapping[str, str]
    _asked: dict[str, None] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for name in self._members.duplicates if isinstance(self._members, Members) else ():
            self.wrong(name, "is written twice; keep one")

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all members, in their order."""
        return tuple(self._members)

    @property
    def asked(self) -> frozenset[str]:
        """The names that were looked for so far, there or not."""
        return frozenset(self._asked)

    def peek(self, name: str) -> Any:
        """A member as it is written, without asking for it: to find out how to read it."""
        return self._members.get(name)

    def wrong(self, name: str | None, sentence: str) -> None:
        """Note an error at a member, or at the object itself."""
        self.report.wrong(self.path if name is None else (*self.path, name), sentence)

    def odd(self, name: str, sentence: str) -> None:
        """Note something tolerated at a member."""
        self.report.odd((*self.path, name), sentence)

    def text(self, name: str) -> str | None:
        """A string, expanded; L{None} if it is absent or wrong."""
        value = self._member(name, str)
        return None if value is None else self._expanded((*self.path, name), value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, expanded."""
        values = self._member(name, list)
        return tuple(self._item((*self.path, name, index), value) for index, value in enumerate(values or ()))

    def text_map(self, name: str) -> dict[str, str]:
        """An object of strings, its values expanded."""
        table = self.table(name)
        if table is None:
            return {}
        return {key: self._item((*table.path, key), value) for key, value in table._members.items()}

    def table(self, name: str) -> Table | None:
        """An object."""
        value = self._member(name, dict)
        return None if value is None else Table(value, (*self.path, name), self.report, self._environment)

    def flag(self, name: str) -> bool | None:
        """C{true} or C{false}."""
        value: bool | None = self._member(name, bool)
        return value

    def integer(self, name: str, least: int, most: int) -> int | None:
        """A whole number within bounds."""
        value = self._number(name, least, most, "")
        if value is None:
            return None
        if value != int(value):
            self.wrong(name, "must be a whole number")
            return None
        return int(value)

    def milliseconds(self, name: str, least: int, most: int) -> float | None:
        """
        A time span, written in milliseconds.

        @return: seconds.
        """
        value = self._number(name, least, most, " milliseconds")
        return None if value is None else value / 1000

    def choice(self, name: str, options: Mapping[str, Choice]) -> Choice | None:
        """One of some words."""
        written = self._member(name, str)
        if written is None:
            return None
        word = self._expanded((*self.path, name), written)
        if word is None or word in options:
            return None if word is None else options[word]
        # The word as written: what a variable holds is not shown.
        words = ", ".join(f'"{option}"' for option in options)
        self.wrong(name, f"must be one of {words}{suggestion(written, options)}")
        return None

    def close(self, elsewhere: Mapping[str, str], tolerated: Mapping[str, str], renamed: Mapping[str, str]) -> None:
        """
        Note the members that nobody asked for.

        @param elsewhere: names that are known but do not belong here, and why.
        @param tolerated: names of other programs' keys, and what becomes of them.
        @param renamed: names that others use for what has another name here.
        """
        for name in self._members:
            if name in self._asked:
                continue
            if name in elsewhere:
                self.wrong(name, elsewhere[name])
            elif name in tolerated:
                self.odd(name, tolerated[name])
            elif name in renamed:
                self.wrong(name, f'unknown key; did you mean "{renamed[name]}"?')
            else:
                self.wrong(name, f"unknown key{suggestion(name, (*self._asked, *elsewhere, *tolerated))}")

    def _member(self, name: str, kind: type) -> Any:
        self._asked[name] = None
        value = self._members.get(name)
        if name not in self._members or isinstance(value, kind):
            return value
        self._mistyped((*self.path, name), value, kind)
        return None

    def _mistyped(self, path: Path, value: object, kind: _Kind) -> None:
        wanted = next(words for kinds, words in _KINDS if kinds == kind)
        found = next((words for kinds, words in _KINDS if isinstance(value, kinds)), "null")
        hint = "; put it in quotes" if kind is str and isinstance(value, _NUMBER) else ""
        self.report.wrong(path, f"must be {wanted}, not {found}{hint}")

    def _item(self, path: Path, value: object) -> str:
        if isinstance(value, str):
            return self._expanded(path, value) or ""
        self._mistyped(path, value, str)
        return ""

    def _number(self, name: str, least: int, most: int, unit: str) -> float | None:
        self._asked[name] = None
        if name not in self._members:
            return None
        value = self._members[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._mistyped((*self.path, name), value, _NUMBER)
        elif not least <= value <= most:
            self.wrong(name, f"must be from {least} to {most}{unit}")
        else:
            return value
        return None

    def _expanded(self, path: Path, text: str) -> str | None:
        expansion = expand(text, self._environment)
        for variable in expansion.missing:
            self.report.wrong(
                path,
                f"the environment variable {variable} is not set; set it, or write ${{{variable}:-a default}}",
            )
        for reference in expansion.foreign:
            self.report.wrong(path, f"{_spelling(reference)} is another program's spelling; write ${{NAME}}")
        if "\0" in expansion.text:
            self.report.wrong(path, "must not hold a NUL character")
        return None if expansion.missing or expansion.foreign else expansion.text


def _spelling(reference: str) -> str:
    return reference[: reference.index(":") + 1] + "...}"
