"""
Tests for L{mcpbridge.core.bindings.streamable_request}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import Finish, Noise, ReadBody, ReadEvents, Send
from mcpbridge.core.bindings.http import HTTPLimits, ResponseHead
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.bindings.streamable_request import RequestDialogue
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Batch, Error, InvalidMessage, Notification, Request, Result

CALL = Request(7, "tools/call", Raw(b"{}"))
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}
RESULT = b'{"jsonrpc":"2.0","id":7,"result":{}}'
ANSWER = Result(7, Raw(b"{}"))


def session(session_id: str | None = None, **headers: str) -> StreamableHTTP:
    """A session, with an id if it is to be one."""
    made = StreamableHTTP.make("https://h/mcp", headers, HTTPLimits(), lambda: 0.0)
    made.session_id = session_id
    return made


def begun(made: StreamableHTTP | None = None, message: Request = CALL) -> RequestDialogue:
    """A dialogue whose request is out."""
    dialogue = RequestDialogue(session() if made is None else made, message)
    assert isinstance(dialogue.begin(), Send)
    return dialogue


def error_body(code: int, message: str, request_id: str = "7") -> bytes:
    """A JSON-RPC error."""
    return b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,"message":"%b"}}' % (
        request_id.encode(),
        code,
        message.encode(),
    )


def complained(dialogue: RequestDialogue, status: int, body: bytes) -> Any:
    """What comes of an error status with this body."""
    step = dialogue.head_received(ResponseHead(status, JSON), 0.0)
    if isinstance(step, ReadBody):
        step = dialogue.body_received(body)
    assert isinstance(step, Finish)
    [delivery] = step.deliveries
    return delivery


class HeadTests(SynchronousTestCase):
    """What a response head means."""

    def test_types(self) -> None:
        """
        JSON is read whole, an event stream as such.
        """
        self.assertEqual(
            [ReadBody(64 * 1024 * 1024), ReadEvents(64 * 1024 * 1024)],
            [begun().head_received(ResponseHead(200, fields), 0.0) for fields in (JSON, EVENTS)],
        )

    def test_malformed(self) -> None:
        """
        What can hold no answer is told at once.
        """
        for head in (
            ResponseHead(200, JSON, 0),
            ResponseHead(202),
            ResponseHead(204),
            ResponseHead(206, JSON),
            ResponseHead(304),
            ResponseHead(301, {"location": "/x"}),
            ResponseHead(200, {"content-type": "text/html"}),
            ResponseHead(200),
        ):
            step = begun().head_received(head, 0.0)
            assert isinstance(step, Finish)
            [loss] = step.deliveries
            assert isinstance(loss, Loss)
            self.assertEqual((Fate.FAILED, Reason.MALFORMED), (loss.fate, loss.reason))

    def test_too_large(self) -> None:
        """
        What is announced to be too large is not read at all.
        """
        step = begun().head_received(ResponseHead(200, JSON, 64 * 1024 * 1024 + 1), 0.0)

        assert isinstance(step, Finish)
        [loss] = step.deliveries
        assert isinstance(loss, Loss)
        self.assertIn("too large: at most 67108864 are taken", loss.text)

    def test_redirects_are_bounded(self) -> None:
        """
        Three, and no more.
        """
        dialogue = begun()

        steps = [dialogue.head_received(ResponseHead(307, {"location": f"/{n}"}), 0.0) for n in range(4)]

        self.assertEqual([Send, Send, Send, Finish], [type(step) for step in steps])

    def test_session_id(self) -> None:
        """
        The one of C{initialize} is taken, a later one is not; one that cannot be a header is refused.
        """
        made = session()
        begun(made, Request(0, "initialize")).head_received(ResponseHead(200, {**JSON, "mcp-session-id": "s1"}), 0.0)
        begun(made).head_received(ResponseHead(200, {**JSON, "mcp-session-id": "s2"}), 0.0)
        refused = session()
        step = begun(refused, Request(0, "initialize")).head_received(
            ResponseHead(200, {**JSON, "mcp-session-id": "s 1\t"}), 0.0
        )

        self.assertEqual(("s1", None), (made.session_id, refused.session_id))
        self.assertIsInstance(step, Finish)


class BodyTests(SynchronousTestCase):
    """What a body means."""

    def _body(self, body: bytes) -> tuple[Any, ...]:
        dialogue = begun()
        dialogue.head_received(ResponseHead(200, JSON), 0.0)
        step = dialogue.body_received(body)
        assert isinstance(step, Finish)
        return step.deliveries

    def test_answer(self) -> None:
        """
        The answer; an error without an id is one too, here.
        """
        self.assertEqual((ANSWER,), self._body(RESULT))
        self.assertEqual((Error(7, ErrorObject(-1, "x")),), self._body(error_body(-1, "x", "null")))

    def test_no_answer(self) -> None:
        """
        Anything else is passed on if it is a message, and the request is lost.
        """
        loss = Loss(Fate.FAILED, Reason.MALFORMED, "the server answered with a body that is no answer to the request")

        self.assertEqual((Notification("n"), loss), self._body(b'{"jsonrpc":"2.0","method":"n"}'))
        self.assertEqual((Result(8, Raw(b"{}")), loss), self._body(RESULT.replace(b"7", b"8")))
        self.assertEqual((Result("7", Raw(b"{}")), loss), self._body(RESULT.replace(b"7", b'"7"')))
        for body in (b"", b" \n", b"<html>", b"{"):
            self.assertEqual((loss,), self._body(body))

    def test_broken_answer(self) -> None:
        """
        An answer to the request that is none is lost, once.
        """
        [loss] = self._body(b'{"jsonrpc":"1.0","id":7,"result":{}}')

        self.assertEqual((Fate.FAILED, Reason.MALFORMED), (loss.fate, loss.reason))

    def test_batch(self) -> None:
        """
        An array is passed on whole (2025-03-26); an answer in it counts.
        """
        self.assertEqual(
            (Batch((Notification("n"), ANSWER)),), self._body(b'[{"jsonrpc":"2.0","method":"n"},%b]' % RESULT)
        )


class ComplaintTests(SynchronousTestCase):
    """What error statuses mean."""

    def test_own_error(self) -> None:
        """
        A JSON-RPC error for the request is its answer, whatever the status.
        """
        for status in (400, 404, 422, 500, 502):
            self.assertEqual(Error(7, ErrorObject(-32602, "no")), complained(begun(), status, error_body(-32602, "no")))

    def test_session_unknown(self) -> None:
        """
        404 with a session id, and 400 that speaks of sessions: as the official SDKs put it.
        """
        for status, session_id, body in [
            (404, "s", b""),
            (404, "s", error_body(-32600, "Session not found", '"server-error"')),
            (404, "s", error_body(-32001, "Session not found", "null")),
            (404, "s", error_body(-32001, "Session not found")),
            (400, "s", error_body(-32000, "Bad Request: No valid session ID provided", "null")),
            (400, None, error_body(-32600, "Bad Request: Missing session ID", '"server-error"')),
            (400, "s", error_body(-32000, "Bad Request: Server not initialized", "null")),
            (400, "s", b"invalid session"),
        ]:
            made = session(session_id)
            loss = complained(begun(made), status, body)
            self.assertEqual((Fate.SESSION_LOST, Reason.SESSION_LOST), (loss.fate, loss.reason), body)
            self.assertEqual(Finish((loss,)), RequestDialogue(made, CALL).begin())

    def test_session_known(self) -> None:
        """
        These do not mean that: the request was looked at, or there never was a session.
        """
        for status, session_id, body in [
            (404, "s", error_body(-32601, "unknown method")),
            (404, None, b"session"),
            (400, "s", error_body(-32602, "the tool wants a session argument")),
            (400, "s", b"bad"),
            (500, "s", b"session store down"),
        ]:
            made = session(session_id)
            complained(begun(made), status, body)
            self.assertIsNone(made.lost, body)

    def test_initialize_never_loses_a_session(self) -> None:
        """
        It has none to lose; but it may find that another transport is wanted.
        """
        for status, body, not_spoken in [
            (400, b"Missing session ID", True),
            (405, b"", True),
            (404, b"<html>", True),
            (400, error_body(-32602, "bad version"), False),
            (403, b"", False),
            (500, b"", False),
        ]:
            made = session()
            complained(begun(made, Request(7, "initialize")), status, body)
            self.assertEqual((None, not_spoken), (made.lost, made.not_spoken), (status, body))

    def test_said(self) -> None:
        """
        What the body says is told, if it is meant for humans; a page is not.
        """
        texts = [complained(begun(), 422, body).text for body in (b"too\nbad", b"<html>x")]

        self.assertEqual(["the server answered HTTP 422 (too bad)", "the server answered HTTP 422"], texts)

    def test_said_without_what_was_shown(self) -> None:
        """
        What let us in is not told, whoever added it to the request.
        """
        dialogue: Any = begun()
        dialogue.head_received(ResponseHead(422, JSON, shown=("s3cret-token",)), 0.0)

        [loss] = dialogue.body_received(b"bad s3cret-token").deliveries

        self.assertEqual("the server answered HTTP 422 (bad ***)", loss.text)

    def test_error_without_what_was_shown(self) -> None:
        """
        Nor where it is said in an error of JSON-RPC, which may end in the log.
        """
        dialogue: Any = begun()
        dialogue.head_received(ResponseHead(400, JSON, shown=("s3cret-token",)), 0.0)

        [error] = dialogue.body_received(error_body(-1, "bad s3cret-token")).deliveries

        self.assertEqual("bad ***", error.error.message)

    def test_body_is_cut(self) -> None:
        """
        Then the status has to do.
        """
        made = session("s")
        dialogue = begun(made)
        dialogue.head_received(ResponseHead(404, JSON), 0.0)

        step = dialogue.failed(Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "cut"), 0.0)

        assert made.lost is not None
        self.assertEqual(Finish((made.lost,)), step)


class StreamTests(SynchronousTestCase):
    """What a stream means."""

    def _streaming(self, made: StreamableHTTP | None = None) -> RequestDialogue:
        dialogue = begun(made)
        self.assertIsInstance(dialogue.head_received(ResponseHead(200, EVENTS), 0.0), ReadEvents)
        return dialogue

    def test_events(self) -> None:
        """
        Messages pass; priming events, other names and noise do not; invalid messages do, for the owner to answer.
        """
        dialogue = self._streaming()

        told = [
            dialogue.event_received(name, data)
            for name, data in [
                ("message", b'{"jsonrpc":"2.0","method":"n"}'),
                ("message", b""),
                ("endpoint", b"/x"),
                ("message", b"{broken"),
            ]
        ]
        [invalid] = dialogue.event_received("message", b'{"jsonrpc":"2.0","id":1,"method":5}')

        self.assertEqual([(Notification("n"),), (), ()], told[:3])
        self.assertIsInstance(told[3][0], Noise)
        self.assertIsInstance(invalid, InvalidMessage)
        self.assertFalse(dialogue.settled)

    def test_answer_settles(self) -> None:
        """
        The answer settles it; the end then means nothing, nor does a failure.
        """
        dialogue = self._streaming()

        told = dialogue.event_received("message", RESULT)

        self.assertEqual((ANSWER,), told)
        self.assertTrue(dialogue.settled)
        self.assertEqual(Finish(), dialogue.ended(0.0, "e1"))
        self.assertEqual(Finish(), dialogue.failed(Loss(Fate.FAILED, Reason.MALFORMED, "x"), 0.0))

    def test_resumption(self) -> None:
        """
        With an id it is asked for the rest; refusals that may pass are tried again, others end it.
        """
        dialogue = self._streaming(session("s"))

        first = dialogue.ended(0.0, "e1")
        again = dialogue.head_received(ResponseHead(503, {"retry-after": "9"}), 1.0)
        third = dialogue.failed(Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "x"), 20.0)
        last = dialogue.head_received(ResponseHead(405), 30.0)

        assert isinstance(first, Send)
        assert isinstance(again, Send)
        assert isinstance(third, Send)
        self.assertEqual("GET", first.request.method)
        self.assertIn((b"Last-Event-ID", b"e1"), first.request.headers)
        self.assertEqual([1.0, 9.0, 4.0], [first.after, again.after, third.after])
        text = "the answer was cut off, and the server answered HTTP 405 when asked for the rest of it"
        self.assertEqual(Finish((Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, text),)), last)

    def test_unusable_id(self) -> None:
        """
        An id that cannot be a header is as good as none.
        """
        self.assertIsInstance(self._streaming().ended(0.0, "a\x01b"), Finish)

    def test_version(self) -> None:
        """
        The revision comes from the result of C{initialize}; what is none is not made a header.
        """
        for version, header in [(b"2025-06-18", True), (b"2025-03-26", False), (b"x\\r\\nY: z", False)]:
            made = session()
            dialogue = begun(made, Request(0, "initialize"))
            dialogue.head_received(ResponseHead(200, EVENTS), 0.0)
            dialogue.event_received("message", b'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"%b"}}' % version)
            names = [name for name, _ in made.post(CALL).headers]
            self.assertEqual(header, b"MCP-Protocol-Version" in names)

    @given(st.lists(st.sampled_from(["event", "answer", "end", "cut", "fail", "busy", "ok", "gone"]), max_size=30))
    @settings(max_examples=300, derandomize=True, deadline=None)
    def test_exactly_one_outcome(self, happenings: list[str]) -> None:
        """
        Whatever happens in whatever order: one answer or one loss, never both, never two.
        """
        dialogue = RequestDialogue(session("s"), CALL)
        step: Any = dialogue.begin()
        told: list[Any] = []
        now = 0.0
        for happening in happenings:
            now += 1.0
            if isinstance(step, Finish):
                break
            if isinstance(step, Send):
                step = self._on_send(dialogue, happening, now)
            elif happening in ("event", "answer"):
                told += dialogue.event_received("message", RESULT if happening == "answer" else b"")
            elif happening == "fail":
                step = dialogue.failed(Loss(Fate.FAILED, Reason.MALFORMED, "x"), now)
            else:
                step = dialogue.ended(now, "e" if happening == "end" else "")
        if isinstance(step, Finish):
            told += step.deliveries
            self.assertTrue(told)

        losses = [delivery for delivery in told if isinstance(delivery, Loss)]
        answered = any(isinstance(delivery, Result) for delivery in told)
        self.assertLessEqual(len(losses) + answered, 1)

    def _on_send(self, dialogue: RequestDialogue, happening: str, now: float) -> Any:
        if happening in ("cut", "fail"):
            return dialogue.failed(Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "x"), now)
        status = {"busy": 503, "gone": 404}.get(happening, 200)
        step: Any = dialogue.head_received(ResponseHead(status, EVENTS), now)
        return dialogue.body_received(b"") if isinstance(step, ReadBody) else step
