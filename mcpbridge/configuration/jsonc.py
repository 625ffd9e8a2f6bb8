"""
JSON as people write it: comments and trailing commas allowed.

What JSON does not have is blanked out, character for character, so that a complaint names the line and the column
of the file. Refuses to know what the document means.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

#: Strings first, so that nothing inside them counts; possessive, so that a string without an end costs one pass.
_TOKEN = re.compile(
    r"""
      (?P<string>  "(?:[^"\\]|\\.)*+"? )
    | (?P<comment> //[^\r\n]* | /\*.*?\*/ )
    | (?P<endless> /\* )
    | (?P<space>   [ \t\r\n]+ )
    | (?P<comma>   , )
    | (?P<close>   [\]}] )
    | (?P<open>    [\[{] )
    | (?P<other>   [^"/ \t\r\n,\[\]{}]++ | . )
    """,
    re.DOTALL | re.VERBOSE,
)
_NOT_A_LINE_BREAK = re.compile(r"[^\r\n]")


class Members(dict[str, Any]):
    """
    A JSON object that remembers which of its names were written twice.

    @ivar duplicates: those names; the value that counts is the last one, as everywhere.
    """

    duplicates: tuple[str, ...] = ()


def loads(text: str) -> Any:
    """
    Read one document.

    @return: what L{json.loads} gives, with objects as L{Members}.
    @raise ValueError: this is no JSON; the text says where, and shows nothing of the document.
    """
    try:
        return json.loads(blanked(text), object_pairs_hook=_members, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def blanked(text: str) -> str:
    """
    Replace comments and trailing commas by spaces; lines and columns stay where they are.

    @raise ValueError: a comment has no end.
    """
    pieces: list[str] = []
    comma: int | None = None
    after_value = False
    for token in _TOKEN.finditer(text):
        kind, piece = token.lastgroup, token.group()
        match kind:
            case "endless":
                raise ValueError(f"line {text.count(chr(10), 0, token.start()) + 1}: this comment is never closed")
            case "comment":
                piece = _NOT_A_LINE_BREAK.sub(" ", piece)
            case "comma":
                # Only a comma after a value can be a trailing one: [,] and [1,,] stay the errors that they are.
                comma = len(pieces) if after_value else None
                after_value = False
            case "close":
                if comma is not None:
                    pieces[comma] = " "
                comma, after_value = None, True
            case "open":
                comma, after_value = None, False
            case "string" | "other":
                comma, after_value = None, True
        pieces.append(piece)
    return "".join(pieces)


def _members(pairs: list[tuple[str, Any]]) -> Members:
    members = Members(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        members.duplicates = tuple(name for name in members if names.count(name) > 1)
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
