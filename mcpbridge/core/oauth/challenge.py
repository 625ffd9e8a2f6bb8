"""
What a server asks for in C{WWW-Authenticate} (RFC 9110, 11.6.1; RFC 6750, 3; RFC 9728, 5.1).

Servers write these by hand, so a part that cannot be read is skipped and the rest is used. Whether a URL in it may be
used is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import attrs

from mcpbridge.core.oauth.scopes import Scopes, parse_scopes

#: Characters that are looked at. Real ones have 100 to 500; servers refuse header lines of 8 KiB.
MAX_LENGTH = 16 * 1024

#: Challenges in one response; real ones have one or two.
MAX_CHALLENGES = 16

#: Parameters of one challenge.
MAX_PARAMS = 32

_blank = re.compile(r"[ \t,]*")
_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_equals = re.compile(r"[ \t]*=[ \t]*(?=[^ \t=,])")
_quoted = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_token68 = re.compile(r"[ \t]+([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$)")
_unquote = re.compile(r"\\(.)", re.DOTALL)


@attrs.frozen
class Challenge:
    """
    One challenge.

    @ivar scheme: in lower case.
    @ivar params: by name in lower case; of repeated ones the first.
    """

    scheme: str
    params: Mapping[str, str] = attrs.field(factory=lambda: MappingProxyType({}), hash=False)


@attrs.frozen
class BearerChallenge:
    """
    What matters of a C{Bearer} challenge.

    @ivar resource_metadata: a URL as the server wrote it, not checked.
    @ivar scopes: what the request needs; L{None} if the server does not say.
    @ivar error: C{invalid_token}, C{insufficient_scope}, ...
    """

    resource_metadata: str | None = None
    scopes: Scopes | None = None
    error: str | None = None
    error_description: str | None = None

    @property
    def insufficient_scope(self) -> bool:
        """Whether a token with more scopes would do (RFC 6750, 3.1)."""
        return self.error == "insufficient_scope"


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """
    All challenges, in their order.

    @param values: the values of all C{WWW-Authenticate} fields.
    """
    text = ", ".join(values)[:MAX_LENGTH]
    found: list[tuple[str, dict[str, str]]] = []
    position = _skip(_blank, text, 0)
    while position < len(text):
        position = _skip(_blank, text, _next_part(text, position, found))
    return [Challenge(scheme, MappingProxyType(params)) for scheme, params in found[:MAX_CHALLENGES]]


def bearer_challenge(values: Iterable[str]) -> BearerChallenge | None:
    """
    The C{Bearer} challenge of a response, L{None} if it has none.

    Several are read as one: what the first does not say, the next may.
    """
    merged: dict[str, str] = {}
    bearers = [challenge for challenge in parse_challenges(values) if challenge.scheme == "bearer"]
    if not bearers:
        return None
    for challenge in bearers:
        merged = {**challenge.params, **merged}
    scope = merged.get("scope")
    return BearerChallenge(
        resource_metadata=merged.get("resource_metadata"),
        scopes=None if scope is None else parse_scopes(scope) or None,
        error=merged.get("error"),
        error_description=merged.get("error_description"),
    )


def _next_part(text: str, position: int, found: list[tuple[str, dict[str, str]]]) -> int:
    """Read a parameter or the beginning of a challenge at this position; return where it ends."""
    name = _token.match(text, position)
    if name is None:
        return _next_comma(text, position)
    equals = _equals.match(text, name.end())
    if equals is not None and found:
        value, end = _value(text, equals.end())
        if value is not None:
            params = found[-1][1]
            if len(params) < MAX_PARAMS:
                params.setdefault(name[0].lower(), value)
            return end
        return _next_comma(text, equals.end())
    if equals is not None:
        # A parameter before any scheme.
        return _next_comma(text, equals.end())
    found.append((name[0].lower(), {}))
    token68 = _token68.match(text, name.end())
    return name.end() if token68 is None else token68.end()


def _value(text: str, position: int) -> tuple[str | None, int]:
    quoted = _quoted.match(text, position)
    if quoted is not None:
        return _unquote.sub(r"\1", quoted[1]), quoted.end()
    if text.startswith('"', position):
        # It has no end: cut off, or a quote too many.
        return None, len(text)
    # Unquoted values are tokens, but URLs and lists are met there too: take what is there up to a comma or a blank.
    end = position
    while end < len(text) and text[end] not in ", \t":
        end += 1
    return text[position:end], end


def _next_comma(text: str, position: int) -> int:
    """The next comma outside of quotes."""
    while position < len(text) and text[position] != ",":
        quoted = _quoted.match(text, position)
        position = position + 1 if quoted is None else quoted.end()
    return position


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return position if found is None else found.end()
