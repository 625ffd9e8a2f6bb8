"""
The rounds of one call to a server of the stateless era, for a client that knows no rounds.

Such a server ends a request with C{input_required}: questions, a state, or both. What it wants to know is gathered
here until all of it is there; then the same call goes out again, under another id, with the answers of this round and
the very state that came (Multi Round-Trip Requests).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras.modern.envelope import ASKING
from mcpbridge.core.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    ErrorObject,
    Fate,
    Loss,
    Reason,
)
from mcpbridge.core.events import Completed, Event, ExchangeId, Failed, InputRequest, Native
from mcpbridge.core.jsonrpc import InvalidMessage, RequestId
from mcpbridge.core.retry import LONGEST_WAIT

#: A server that asks and asks is stopped here.
MAX_ROUNDS: Final = 16

#: Questions of one round. Real servers ask one or two.
MAX_QUESTIONS: Final = 64

#: Requests in a row, of the later rounds of one call, that may fail to arrive.
MAX_LOSSES: Final = 5

#: Seconds before a server that gave a state and no questions is asked again: the first time, and at the most.
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0

_EMPTY = Raw(b"{}")

#: What sending again does not help against.
_LOCKED_OUT: Final = (Reason.AUTH_REQUIRED, Reason.AUTH_FAILED, Reason.INSUFFICIENT_SCOPE)

#: What a server of this era may ask (Multi Round-Trip Requests, InputRequests), and whether it needs params.
_QUESTIONS: Final = {"elicitation/create": True, "sampling/createMessage": True, "roots/list": False}


@attrs.define(eq=False)
class Round:
    """
    What a server wants to know before it goes on.

    @ivar state: its own, as it came; L{None} if it gave none.
    @ivar questions: all of them, by a key that no other round has.
    @ivar pending: the server's own key and the method of each that is not answered.
    @ivar answers: by the server's own key.
    """

    state: Raw | None
    questions: Mapping[str, InputRequest]
    pending: dict[str, tuple[str, str]]
    answers: dict[str, Raw] = attrs.Factory(dict)

    @classmethod
    def read(cls, result: Raw, request_id: RequestId) -> Round:
        """
        From the result of this request of ours.

        @raise InvalidMessage: the server does not keep to the rules.
        """
        found = jsonrpc.members(result)
        asked = jsonrpc.members(found.get("inputRequests", _EMPTY))
        state = found.get("requestState")
        if state is not None and jsonrpc.decode_string(state) is None:
            raise InvalidMessage(INVALID_REQUEST, "requestState must be a string")
        if not asked and state is None:
            raise InvalidMessage(INVALID_REQUEST, "input_required needs inputRequests or a requestState")
        if len(asked) > MAX_QUESTIONS:
            raise InvalidMessage(INVALID_REQUEST, f"it asks more than {MAX_QUESTIONS} questions at once")
        questions, pending = {}, {}
        for key, each in asked.items():
            # Keys need only be unique within a request, and another call may ask at the same time.
            ours = f"{request_id}.{key}"
            questions[ours] = question = read_question(key, each)
            pending[ours] = (key, question.method)
        # A copy of its own: a slice would keep alive the whole message.
        return cls(None if state is None else Raw(bytes(state)), questions, pending)

    def supply(self, key: str, response: Raw | ErrorObject) -> ErrorObject | None:
        """
        The client has answered this question.

        @return: the error that ends the call, if the client will not answer and nothing could be said in its place.
        """
        found = self.pending.pop(key, None)
        if found is None:
            return None
        theirs, method = found
        answer = substitute(method, response) if isinstance(response, ErrorObject) else response
        if isinstance(answer, ErrorObject):
            return attrs.evolve(answer, message=f"The client did not answer {method}: {answer.message}")
        self.answers[theirs] = answer
        return None

    def retry(self, params: Raw | None) -> Raw:
        """The params of the call when it is sent again: the state exactly as it came, the answers of this round."""
        found = jsonrpc.members(params or _EMPTY)
        if self.answers:
            found["inputResponses"] = jsonrpc.assemble(self.answers)
        if self.state is not None:
            found["requestState"] = self.state
        return jsonrpc.assemble(found)


@attrs.define(eq=False)
class Exchange:
    """
    One exchange, over all its requests.

    @ivar params: as the client gave them, in the words of the server's revision.
    @ivar request_id: of the latest request.
    @ivar rounds: how many times the server has asked.
    @ivar round: what it asks now; L{None} while it has the word.
    @ivar sent: the params of the latest request.
    @ivar losses: how many requests in a row did not arrive.
    @ivar delays: how many times in a row the server wanted nothing but time.
    @ivar progress: the highest so far: over several requests it must still increase.
    """

    xid: ExchangeId
    method: str
    params: Raw | None
    wants_progress: bool = False
    native: Native | None = None
    request_id: RequestId = 0
    rounds: int = 0
    round: Round | None = None
    sent: Raw | None = None
    losses: int = 0
    delays: int = 0
    progress: float | None = None

    def ask(self, result: Raw) -> Round:
        """
        Its latest request was answered with C{input_required}.

        @raise InvalidMessage: the server does not keep to the rules.
        """
        if self.method not in ASKING:
            raise InvalidMessage(INVALID_REQUEST, f"{self.method} must not be answered with input_required")
        if self.rounds >= MAX_ROUNDS:
            raise InvalidMessage(INVALID_REQUEST, f"it asks for input more than {MAX_ROUNDS} times")
        self.round = Round.read(result, self.request_id)
        self.rounds += 1
        self.losses = 0
        self.delays = 0 if self.round.questions else self.delays + 1
        return self.round

    def wait_after(self, loss: Loss) -> float | None:
        """
        Its latest request was lost.

        @return: seconds until that very request is sent again; L{None} if it is for the bridge to decide. The bridge
            knows the call as it was made: whoever sent that again would have the first rounds run twice.
        """
        if not self.rounds or loss.fate not in (Fate.NEVER_SENT, Fate.REJECTED) or self.losses >= MAX_LOSSES:
            return None
        wait = loss.retry_after or min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self.losses)
        if wait > LONGEST_WAIT or loss.reason in _LOCKED_OUT:
            return None
        self.losses += 1
        return wait

    def fate_of(self, loss: Loss) -> Loss:
        """What the loss of its latest request means for the whole of it: its first rounds have run."""
        return attrs.evolve(loss, fate=Fate.UNKNOWN) if self.rounds and loss.fate is not Fate.FAILED else loss

    @property
    def pause(self) -> float:
        """Seconds until a server that wants nothing but time is asked again."""
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (self.delays - 1))

    def advances(self, params: Mapping[str, Raw]) -> bool:
        """Whether this progress is progress: to the client it is one call (Progress, Behavior Requirements)."""
        value = jsonrpc.read(params.get("progress", Raw(b"null")))
        if not isinstance(value, int | float):
            return True
        if self.rounds and self.progress is not None and value <= self.progress:
            return False
        self.progress = value
        return True

    def refused(self, error: ErrorObject) -> Event:
        """Its end, if the client would not answer."""
        found = refusal(self.method, error)
        return Failed(self.xid, found) if isinstance(found, ErrorObject) else Completed(self.xid, found)


def refusal(method: str, error: ErrorObject) -> Raw | ErrorObject:
    """What a request ends with if the client would not answer what it was asked meanwhile."""
    if method == "tools/call":
        # A result, not an error: the model is to see it.
        return jsonrpc.value({"content": [{"type": "text", "text": error.message}], "isError": True})
    data = jsonrpc.value({"mcpbridge": {"reason": Reason.INPUT_REJECTED.value, "retryable": False}})
    return ErrorObject(INTERNAL_ERROR, error.message, data)


def read_question(key: str, asked: Raw) -> InputRequest:
    """
    One of a server's C{inputRequests}.

    @raise InvalidMessage: it is none.
    """
    found = jsonrpc.members(asked)
    method = jsonrpc.decode_string(found.get("method"))
    if method not in _QUESTIONS:
        raise InvalidMessage(INVALID_REQUEST, f"it asks for {method!r} under {key!r}, which is no input request")
    params = found.get("params")
    if params is None and _QUESTIONS[method]:
        raise InvalidMessage(INVALID_REQUEST, f"its {method} under {key!r} has no params")
    if params is not None:
        jsonrpc.members(params)
    return InputRequest(method, params)


def substitute(method: str, error: ErrorObject) -> Raw | ErrorObject:
    """What a server is told in place of an error of the client; the error itself if nothing would be true."""
    if method == "elicitation/create":
        return Raw(b'{"action":"cancel"}')
    if method == "roots/list" and error.code == METHOD_NOT_FOUND:
        return Raw(b'{"roots":[]}')
    return error
