"""
C{${VAR}} and C{${VAR:-default}} in the strings of a configuration.

As in the shell, C{:-} also stands in for a variable that is set to nothing. C{$${} gives a literal C{${}. What is
not of these forms stays as it is: arguments may be small shell scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

_VARIABLE = re.compile(r"\$(?P<escape>\$)?\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
#: Other programs' spelling, C{${env:TOKEN}} or C{${input:token}}: surely meant, and not to be sent as it stands.
_FOREIGN = re.compile(r"(?<!\$)\$\{(?:env|input|keyring|cmd|secret|command|config):[^}]*\}")


@attrs.frozen
class Expansion:
    """
    What became of a text.

    @ivar text: expanded; secret as soon as a variable took part.
    @ivar missing: names of variables that are not set and have no default, each once.
    @ivar foreign: references in another program's spelling, as written.
    """

    text: str = attrs.field(repr=False)
    missing: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def expand(text: str, environment: Mapping[str, str]) -> Expansion:
    """Put the values of C{environment} in place of the variables named in C{text}."""
    missing: dict[str, None] = {}

    def value(match: re.Match[str]) -> str:
        if match["escape"]:
            return match.group()[1:]
        found = environment.get(match["name"])
        if match["default"] is not None:
            return found or match["default"]
        if found is None:
            missing[match["name"]] = None
            return ""
        return found

    expanded = _VARIABLE.sub(value, text)
    return Expansion(expanded, tuple(missing), tuple(_FOREIGN.findall(text)))
