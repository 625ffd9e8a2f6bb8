"""
What a client of the stateless era is told, in its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion import result_for
from mcpbridge.core.effects import Emit
from mcpbridge.core.eras.modern.calls import Call
from mcpbridge.core.eras.modern.envelope import COMPLETE, INPUT_REQUIRED, close_result
from mcpbridge.core.error_mapping import error_for
from mcpbridge.core.errors import INTERNAL_ERROR, ErrorObject, Reason
from mcpbridge.core.events import Completed, Envelope, Failed, InputRequest, Logged, Notified, Progressed
from mcpbridge.core.jsonrpc import Error, Notification, Request, RequestId, Result


@attrs.define(eq=False)
class Wording:
    """
    See the top of this module.

    @ivar version: the revision that the client speaks.
    @ivar server: what the server says of itself; L{None} until that is known.
    """

    version: str
    server: Raw | None = None

    def outcome(self, call: Call, event: Completed | Failed, request_id: RequestId) -> Emit:
        """The end of a call, as the answer to this request."""
        if isinstance(event, Failed):
            error = error_for(self.version, call.method, call.uri, event.error)
            return Emit(Error(request_id, error), request_id)
        result, envelope = event.result, event.envelope
        if envelope is None or envelope.kind == COMPLETE:
            result = result_for(self.version, call.method, result, modern=envelope is not None)
        return self.result(request_id, call.method, result, envelope)

    def result(self, request_id: RequestId, method: str, result: Raw, envelope: Envelope | None = None) -> Emit:
        """A neutral result."""
        return Emit(Result(request_id, close_result(method, result, envelope, self.server)), request_id)

    def questions(self, request_id: RequestId, call: Call, handle: str) -> Emit:
        """What is asked in a call, and the state to come back with."""
        found = {"inputRequests": input_requests(call.pending), "requestState": jsonrpc.value(handle)}
        return self.result(request_id, call.method, jsonrpc.assemble(found), Envelope(INPUT_REQUIRED))

    def noted(self, call: Call, event: Progressed | Logged | Notified) -> Sequence[Emit]:
        """What happens while a call runs, with the request that waits for it."""
        within = call.carriers[-1]
        match event:
            case Logged():
                return (Emit(Notification("notifications/message", event.params), within),)
            case Notified():
                return (Emit(Notification(event.method, event.params), within),)
            case Progressed() if call.token is not None and call.advances(event.params):
                params = jsonrpc.assemble({"progressToken": call.token, **event.params})
                return (Emit(Notification("notifications/progress", params), within),)
        return ()


def refuse(request_id: RequestId, error: ErrorObject) -> Emit:
    """The answer to a request that was never taken."""
    return Emit(Error(request_id, error), request_id)


def refuse_for(request: Request, code: int, text: str) -> Emit:
    """The same, with nothing but words."""
    return refuse(request.id, ErrorObject(code, text))


def input_requests(questions: Mapping[str, InputRequest]) -> Raw:
    """Questions as the member C{inputRequests}."""
    entries: dict[str, Raw] = {}
    for key, question in questions.items():
        entry = {"method": jsonrpc.value(question.method)}
        if question.params is not None:
            entry["params"] = question.params
        entries[key] = jsonrpc.assemble(entry)
    return jsonrpc.assemble(entries)


def nobody(question: InputRequest) -> Raw | ErrorObject:
    """What a server is told that asks when nobody can be asked."""
    if question.method == "elicitation/create":
        # True: nobody chose anything.
        return Raw(b'{"action":"cancel"}')
    data = jsonrpc.value({"mcpbridge": {"reason": Reason.INPUT_UNAVAILABLE.value, "retryable": False}})
    return ErrorObject(INTERNAL_ERROR, "No call of the client is open that this could be asked in", data)
