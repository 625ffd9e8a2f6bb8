"""
Places on the web that a server of 2025-11-25 wants its user to have been to first (-32042).

Such a server ends the request with an error, and has done nothing. To a client of the stateless era the places are
questions like any other; when the user has said yes to all of them, the request is sent for the first time that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import listed, opened
from mcpbridge.core.errors import INTERNAL_ERROR, MISSING_CLIENT_CAPABILITY, ErrorObject, Reason
from mcpbridge.core.events import Completed, ExchangeId, Failed, InputRequest

#: Times that one call may be sent in vain.
MAX_VISITS: Final = 8

#: Seconds that the user is given before the call is sent again, unless the server says before that it is done: the
#: first time, and at the most. Saying yes to a page is not yet having filled it in.
FIRST_STAY: Final = 2.0
LONGEST_STAY: Final = 30.0

_ACCEPT = "accept"


@attrs.frozen
class Visits:
    """
    What one -32042 asks for.

    @ivar questions: by key.
    @ivar names: what the server calls them.
    """

    questions: Mapping[str, InputRequest]
    names: frozenset[str]

    @classmethod
    def read(cls, error: ErrorObject) -> Visits:
        """From the error; nothing in it if the server does not keep to the rules."""
        questions, names = {}, set()
        for number, elicitation in enumerate(listed(opened(error.data).get("elicitations")), 1):
            params = opened(elicitation)
            name = jsonrpc.decode_string(params.pop("elicitationId", None))
            if name is not None:
                names.add(name)
            params["mode"] = Raw(b'"url"')
            questions[f"url{number}"] = InputRequest("elicitation/create", jsonrpc.assemble(params))
        return cls(questions, frozenset(names))


def stay(rounds: int) -> float:
    """Seconds until the call is sent again for the n-th time."""
    return min(LONGEST_STAY, FIRST_STAY * 2.0 ** (rounds - 1))


def is_accepted(response: Raw | None) -> bool:
    """Whether the user said yes."""
    return jsonrpc.decode_string(opened(response).get("action")) == _ACCEPT


def completed(params: Raw | None) -> str | None:
    """What a C{notifications/elicitation/complete} is about."""
    return jsonrpc.decode_string(opened(params).get("elicitationId"))


def unavailable(error: ErrorObject) -> ErrorObject:
    """For a client that cannot show them."""
    needed = jsonrpc.value({"requiredCapabilities": {"elicitation": {"url": {}}}})
    text = f"The client cannot show URLs, which the server needs: {error.message}"
    return ErrorObject(MISSING_CLIENT_CAPABILITY, text, needed)


def declined(xid: ExchangeId, method: str) -> Completed | Failed:
    """The end of a call whose user said no."""
    text = "The user did not open a page that the server needs to be visited first"
    if method == "tools/call":
        # A result, not an error: the model is to see it.
        return Completed(xid, jsonrpc.value({"content": [{"type": "text", "text": text}], "isError": True}))
    data = jsonrpc.value({"mcpbridge": {"reason": Reason.INPUT_REJECTED.value, "retryable": False}})
    return Failed(xid, ErrorObject(INTERNAL_ERROR, text, data))
