"""
Rules of Streamable HTTP in the stateless era: 2026-07-28 (basic/transports, "Streamable HTTP").

There is no session. Every message is a POST whose headers say again what its body says, so that an intermediary can
act on it without reading that; the answer comes in its body or on its stream, and closing that stream is how a request
is cancelled. What a single request may meet is in L{modern_request}.

Both eras share an endpoint, and which rules a message goes by is decided for each: by the revision that it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.bindings.http import HeaderFields, HTTPRequest
from mcpbridge.core.bindings.param_headers import encode_value
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.bindings.tool_marks import ToolMarks
from mcpbridge.core.eras.modern.envelope import CLIENT_CAPABILITIES, CLIENT_INFO, PROTOCOL_VERSION, VERSIONS
from mcpbridge.core.jsonrpc import InvalidMessage, Message, Notification, Request, RequestId

#: Which parameter C{Mcp-Name} repeats (Standard Headers; for tasks, their extension).
NAMED_BY: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}

#: Characters. Longer names are those of resources, of which there are too many for any to come often.
_SHORT: Final = 100

#: What a request that is nobody's but the client's own says of the client, as the others do.
_ENVELOPE: Final = (PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES)

#: Requests whose answer is the end of a stream that is the point of them.
_STANDING: Final = frozenset(("subscriptions/listen",))

_EMPTY: Final = Raw(b"{}")
_revision = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@attrs.frozen
class Spoken:
    """
    What headers say again of a message of this era.

    @ivar params: its members.
    @ivar meta: the members of its C{_meta}.
    """

    version: str
    method: str
    params: Mapping[str, Raw] = attrs.field(factory=dict, repr=False)
    meta: Mapping[str, Raw] = attrs.field(factory=dict, repr=False)

    @classmethod
    def by(cls, message: Request | Notification) -> Spoken | None:
        """What a message says; L{None} if it names no revision of this era."""
        try:
            params = jsonrpc.members(message.params or _EMPTY)
            meta = params.get("_meta")
            found = {} if meta is None else jsonrpc.members(meta)
        except InvalidMessage:
            return None
        version = jsonrpc.decode_string(found.get(PROTOCOL_VERSION))
        # Later revisions than ours are without sessions as well; whether we speak them is not for a transport to say.
        if version is None or not _revision.fullmatch(version) or version < VERSIONS[-1]:
            return None
        return cls(version, message.method, params, found)

    @property
    def called_tool(self) -> str | None:
        """The tool that it calls, if it does."""
        return jsonrpc.decode_string(self.params.get("name")) if self.method == "tools/call" else None

    @property
    def has_arguments(self) -> bool:
        """Whether there is anything that a header could repeat."""
        arguments = self.params.get("arguments")
        # An object with members has at least {"":0}.
        return arguments is not None and len(memoryview(arguments)) > len("{ }")

    def envelope(self) -> Raw:
        """C{_meta} for a request of ours on behalf of the same client."""
        return jsonrpc.assemble({name: self.meta[name] for name in _ENVELOPE if name in self.meta})


@attrs.define(eq=False)
class ModernHTTP:
    """
    This era at one endpoint.

    @ivar endpoint: where it is, what is configured for it, and the session, if there is one.
    @ivar marks: what its tools want said in headers.
    """

    endpoint: StreamableHTTP
    marks: ToolMarks = attrs.Factory(ToolMarks)
    _version: str | None = None

    @property
    def version(self) -> str | None:
        """The revision of the conversation; L{None} while it is not known to be of this era."""
        return None if self.endpoint.version is not None else self._version

    def spoken(self, message: Message) -> Spoken | None:
        """
        What a message says that is to go out by these rules; L{None} if it goes by those of a session.

        Notifications need not name a revision; they are of the era in which the conversation is.
        """
        if isinstance(message, Request):
            found = Spoken.by(message)
            if found is not None:
                self._version = found.version
            elif message.method == "initialize":
                self._version = None
            return found
        if isinstance(message, Notification):
            found = Spoken.by(message)
            if found is None and self.version is not None:
                found = Spoken(self.version, message.method)
            return found
        # An answer: only in sessions is anything asked of us.
        return None

    def post(self, message: Message, spoken: Spoken, more: HeaderFields = ()) -> HTTPRequest:
        """
        The request that carries a message (Standard Headers).

        @param more: what it repeats of its arguments.
        """
        fields: HeaderFields = (
            (b"MCP-Protocol-Version", spoken.version.encode("ascii")),
            (b"Mcp-Method", encode_value(spoken.method).encode("ascii")),
        )
        parameter = NAMED_BY.get(spoken.method)
        name = None if parameter is None else jsonrpc.decode_string(spoken.params.get(parameter))
        if name is not None:
            field = (b"Mcp-Name", encode_value(name).encode("ascii"))
            if len(name) <= _SHORT:
                fields += (field,)
            else:
                more = (field, *more)
        return self.endpoint.post_alone(message, fields, more)

    def param_fields(self, spoken: Spoken) -> HeaderFields:
        """What a call repeats of its arguments, as far as that is known."""
        tool = spoken.called_tool
        return () if tool is None else self.marks.fields(tool, spoken.params.get("arguments"))

    def wants_survey(self, spoken: Spoken) -> bool:
        """Whether a call has to wait for the list of tools: there may be something to repeat, and nobody has asked."""
        return not self.marks.known and spoken.called_tool is not None and spoken.has_arguments


def is_standing(request: Request) -> bool:
    """Whether the stream of this request stays open, so that it must not hold up others."""
    return request.method in _STANDING


def cancelled_by(message: Message) -> RequestId | None:
    """The request of ours that this message cancels; L{None} if it does not."""
    if not isinstance(message, Notification) or message.method != "notifications/cancelled":
        return None
    try:
        named = jsonrpc.members(message.params or _EMPTY).get("requestId")
    except InvalidMessage:
        return None
    return None if named is None else jsonrpc.decode_id(named)
