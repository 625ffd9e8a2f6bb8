"""
What is wrong with a configuration: everything at once, each with its place.

No sentence here ever holds a value of the user's: values may be secrets. Names are shown, escaped.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import TypeAlias

import attrs

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.printable import printable

Path: TypeAlias = tuple[str | int, ...]

#: What difflib takes for a typing mistake: C{comand} and C{command} are 0.92 alike, C{url} and C{args} 0.29.
_LIKENESS = 0.6
#: Names longer than this are no typing mistakes, and comparing them takes quadratic time.
_LONGEST_NAME = 64
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_$-]+")


class InvalidConfiguration(ConfigurationError):
    """
    The configuration cannot be used. Its text is one line.

    @ivar problems: a sentence for each thing that is wrong.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@attrs.define
class Report:
    """Collects what is wrong and what is merely odd in one source."""

    source: str
    errors: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)

    def wrong(self, path: Path, sentence: str) -> None:
        """Note an error."""
        self.errors.append(self._place(path) + sentence)

    def odd(self, path: Path, sentence: str) -> None:
        """Note something that is tolerated."""
        self.warnings.append(self._place(path) + sentence)

    def _place(self, path: Path) -> str:
        return ": ".join(filter(None, (printable(self.source), shown(path)))) + ": "


def shown(path: Path) -> str:
    """A place in the document as text: C{mcpServers.github.args[2]}."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        text += ("." if text else "") + (step if _PLAIN_NAME.fullmatch(step) else json.dumps(step[:_LONGEST_NAME]))
    return text


def near_match(name: str, names: Iterable[str]) -> str | None:
    """
    Which of C{names} may have been meant.

    Upper and lower case, and whether words are joined by C{-}, C{_} or nothing, make no difference.
    """
    if len(name) > _LONGEST_NAME:
        return None
    spellings = {_folded(candidate): candidate for candidate in names}
    found = difflib.get_close_matches(_folded(name), spellings, n=1, cutoff=_LIKENESS)
    return spellings[found[0]] if found else None


def suggestion(name: str, names: Iterable[str]) -> str:
    """C{; did you mean "command"?}, or nothing."""
    match = near_match(name, names)
    return "" if match is None else f'; did you mean "{match}"?'


def _folded(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
