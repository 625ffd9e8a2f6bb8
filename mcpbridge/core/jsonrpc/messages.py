"""
The messages of JSON-RPC 2.0, and bytes that are none.

C{params}, C{result} and C{error.data} are the bytes that they came as. Ids are typed: C{1} is not C{"1"}, C{true} and
C{1.0} are no ids at all. MCP forbids C{null} as the id of a request (basic, Requests).
"""

from __future__ import annotations

from typing import TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core.errors import ErrorObject, RemoteProtocolError

RequestId: TypeAlias = int | str


@attrs.frozen
class Request:
    """
    A call that wants exactly one answer.

    @ivar params: a JSON object as it came, or L{None} if the member was absent.
    @ivar extra: members of the envelope that JSON-RPC does not define, if the message is not over L{MAX_KEPT}.
    """

    id: RequestId
    method: str
    params: Raw | None = None
    extra: tuple[tuple[str, Raw], ...] = ()


@attrs.frozen
class Notification:
    """A message that wants no answer."""

    method: str
    params: Raw | None = None
    extra: tuple[tuple[str, Raw], ...] = ()


@attrs.frozen
class Result:
    """A successful answer. C{result} is any JSON value as it came; MCP wants an object."""

    id: RequestId
    result: Raw
    extra: tuple[tuple[str, Raw], ...] = ()


@attrs.frozen
class Error:
    """A failed answer. C{id} is L{None} only where the request's own id could not be read."""

    id: RequestId | None
    error: ErrorObject
    extra: tuple[tuple[str, Raw], ...] = ()


@attrs.frozen
class Batch:
    """
    An array of messages (2025-03-26 only). Elements that are no messages are kept as the error to answer them with.
    """

    elements: tuple[Request | Notification | Result | Error | InvalidMessage, ...]


Message: TypeAlias = Request | Notification | Result | Error


class InvalidMessage(RemoteProtocolError):
    """
    These bytes are no JSON-RPC message that may be taken here.

    @ivar code: the JSON-RPC error code to answer with.
    @ivar request_id: the id of the request that they meant to be; L{None} if unreadable.
    @ivar response_id: the id of the request that they meant to answer, if they were a broken response.
    """

    def __init__(
        self,
        code: int,
        text: str,
        request_id: RequestId | None = None,
        response_id: RequestId | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.request_id = request_id
        self.response_id = response_id

    @property
    def answer(self) -> Error:
        """The error response to send back, where the bytes were not themselves a response."""
        return Error(self.request_id, ErrorObject(self.code, str(self)))
