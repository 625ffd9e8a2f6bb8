"""
Tests for L{mcpbridge.core.bindings.modern_request}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import Finish, Hold, Noise, ReadBody, ReadEvents, Send
from mcpbridge.core.bindings.http import HTTPLimits, ResponseHead
from mcpbridge.core.bindings.modern_http import ModernHTTP, Spoken
from mcpbridge.core.bindings.modern_request import ModernRequestDialogue
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, read, value
from tests.core.bindings.test_modern_http import modern, rules

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}
RESULT = b'{"jsonrpc":"2.0","id":7,"result":{}}'
ANSWER = Result(7, Raw(b"{}"))
MISMATCH = -32020
MARKED = value(
    {"tools": [{"name": "t", "inputSchema": {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}}]}
)
DISCOVER = modern("server/discover")
CALL = modern("tools/call", name="t", arguments={"a": "x"})
CUT = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the answer was cut off before it was complete")
NO_ANSWER = Loss(Fate.FAILED, Reason.MALFORMED, "the server answered with a body that is no answer to the request")


def made(message: Request = DISCOVER, at: ModernHTTP | None = None) -> ModernRequestDialogue:
    """A dialogue that has not begun."""
    spoken = Spoken.by(message)
    assert spoken is not None
    return ModernRequestDialogue(rules() if at is None else at, message, spoken)


def begun(message: Request = DISCOVER, at: ModernHTTP | None = None) -> ModernRequestDialogue:
    """A dialogue whose request is out."""
    dialogue = made(message, at)
    assert isinstance(dialogue.begin(), Send)
    return dialogue


def knowing(result: Raw = MARKED) -> ModernHTTP:
    """A server whose tools are known."""
    at = rules()
    at.marks.learn(result)
    return at


def error_body(code: int, request_id: str = "7") -> bytes:
    """A JSON-RPC error."""
    return b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,"message":"no"}}' % (request_id.encode(), code)


def complained(dialogue: ModernRequestDialogue, status: int, body: bytes, fields: dict[str, str] | None = None) -> Any:
    """What comes of an error status with this body."""
    step: Any = dialogue.head_received(ResponseHead(status, JSON if fields is None else fields), 0.0)
    return dialogue.body_received(body) if isinstance(step, ReadBody) else step


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

    def test_patience(self) -> None:
        """
        Streams may be given up for silence, subscriptions never are.
        """
        at = ModernHTTP(StreamableHTTP.make("https://h/mcp", {}, HTTPLimits(stream_idle=5.0), lambda: 0.0))

        steps = [
            begun(modern(method), at).head_received(ResponseHead(200, EVENTS), 0.0)
            for method in ("server/discover", "subscriptions/listen")
        ]

        self.assertEqual([ReadEvents(64 * 1024 * 1024, 5.0), ReadEvents(64 * 1024 * 1024, None)], steps)

    def test_session_is_ignored(self) -> None:
        """
        A server that makes a session of it makes none of ours.
        """
        at = rules()

        begun(at=at).head_received(ResponseHead(200, {**JSON, "mcp-session-id": "s1"}), 0.0)

        self.assertIsNone(at.endpoint.session_id)

    def test_no_answer(self) -> None:
        """
        Successes without an answer, and other types.
        """
        for head in (ResponseHead(202), ResponseHead(200, JSON, 0), ResponseHead(200, {"content-type": "text/html"})):
            step = begun().head_received(head, 0.0)
            assert isinstance(step, Finish)
            [loss] = step.deliveries
            assert isinstance(loss, Loss)
            self.assertEqual((Fate.FAILED, Reason.MALFORMED), (loss.fate, loss.reason))

    def test_redirected(self) -> None:
        """
        The same request, headers and all, goes on within its origin.
        """
        dialogue = made(CALL, knowing())
        first = dialogue.begin()

        on = dialogue.head_received(ResponseHead(308, {"location": "/other"}), 0.0)
        away = dialogue.head_received(ResponseHead(308, {"location": "https://evil/"}), 0.0)

        assert isinstance(first, Send)
        assert isinstance(on, Send)
        self.assertEqual("https://h/other", on.request.url)
        self.assertEqual(
            (first.request.headers, first.request.more, first.request.body),
            (on.request.headers, on.request.more, on.request.body),
        )
        self.assertIsInstance(away, Finish)


class BodyTests(SynchronousTestCase):
    """What a body means."""

    def _body(self, body: bytes, message: Request = DISCOVER, at: ModernHTTP | None = None) -> tuple[Any, ...]:
        dialogue = begun(message, at)
        dialogue.head_received(ResponseHead(200, JSON), 0.0)
        step = dialogue.body_received(body)
        assert isinstance(step, Finish)
        return step.deliveries

    def test_answer(self) -> None:
        """
        The answer; an error without an id is one too, here.
        """
        self.assertEqual((ANSWER,), self._body(RESULT))
        self.assertEqual((Error(7, ErrorObject(-1, "no")),), self._body(error_body(-1, "null")))

    def test_no_answer(self) -> None:
        """
        Anything else loses the request; arrays and questions are not even passed on.
        """
        self.assertEqual((Notification("n"), NO_ANSWER), self._body(b'{"jsonrpc":"2.0","method":"n"}'))
        for body in (
            b"",
            b"<html>",
            b"[%b]" % RESULT,
            RESULT.replace(b"7", b"8"),
            RESULT.replace(b"7", b'"7"'),
            b'{"jsonrpc":"2.0","id":1,"method":"roots/list"}',
        ):
            noise, loss = self._body(body)
            self.assertIsInstance(noise, Noise)
            self.assertEqual(NO_ANSWER, loss)

    def test_broken_answer(self) -> None:
        """
        An answer to the request that is none is lost, once.
        """
        [loss] = self._body(b'{"jsonrpc":"1.0","id":7,"result":{}}')

        self.assertEqual((Fate.FAILED, Reason.MALFORMED), (loss.fate, loss.reason))

    def test_lists(self) -> None:
        """
        Lists of tools are learnt from, and wrong ones left out of them; other results are not looked at.
        """
        bad = b'{"tools":[{"name":"bad","inputSchema":{"properties":{"a":{"x-mcp-header":1}}}},{"name":"t"}]}'
        body = b'{"jsonrpc":"2.0","id":7,"result":%b}' % bad
        at = rules()

        noise, answer = self._body(body, modern("tools/list"), at)
        other = self._body(body, modern("own/list"))

        self.assertIsInstance(noise, Noise)
        self.assertEqual(Result(7, Raw(b'{"tools":[{"name":"t"}]}')), answer)
        self.assertEqual((Result(7, Raw(bad)),), other)
        self.assertTrue(at.marks.known)


class ComplaintTests(SynchronousTestCase):
    """What error statuses mean."""

    def test_own_error(self) -> None:
        """
        A JSON-RPC error for the request is its answer, whatever the status.
        """
        for status, code in [
            (400, -32600),
            (400, -32602),
            (400, -32020),
            (400, -32021),
            (400, -32022),
            (403, -32000),
            (404, -32601),
            (422, -1),
            (500, -32603),
            (502, -32603),
        ]:
            for request_id in ("7", "null"):
                step = complained(begun(), status, error_body(code, request_id))
                self.assertEqual(Finish((Error(7, ErrorObject(code, "no")),)), step)

    def test_without_a_word(self) -> None:
        """
        Without one, the status has to do; no session is ever lost by it.
        """
        table = [
            (400, b"Missing session ID", Fate.FAILED, Reason.MALFORMED),
            (400, error_body(-32600, '"server-error"'), Fate.FAILED, Reason.MALFORMED),
            (401, b"", Fate.REJECTED, Reason.AUTH_REQUIRED),
            (403, b"", Fate.FAILED, Reason.AUTH_FAILED),
            (404, b"session", Fate.FAILED, Reason.UPSTREAM_UNREACHABLE),
            (405, b"", Fate.FAILED, Reason.UPSTREAM_UNREACHABLE),
            (410, b"<html>", Fate.FAILED, Reason.UPSTREAM_UNREACHABLE),
            (406, b"", Fate.FAILED, Reason.MALFORMED),
            (408, b"", Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (415, b"", Fate.FAILED, Reason.MALFORMED),
            (429, b"", Fate.REJECTED, Reason.OVERLOADED),
            (500, b"", Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (503, b"", Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
        ]
        for status, body, fate, reason in table:
            at = rules()
            at.endpoint.session_id = "s1"
            step = complained(begun(at=at), status, body)
            [loss] = step.deliveries
            self.assertEqual((fate, reason), (loss.fate, loss.reason), status)
            self.assertIn(f"HTTP {status}", loss.text)
            self.assertEqual((None, False), (at.endpoint.lost, at.endpoint.not_spoken))

    def test_of_sessions(self) -> None:
        """A server that has become one of the session era has not looked at a call; it is to be opened anew."""
        for body in (error_body(-32000, "null"), error_body(-32600, '"server-error"'), error_body(-32600, "null")):
            step = complained(begun(CALL, knowing()), 400, body)

            [loss] = step.deliveries
            self.assertEqual((Fate.SESSION_LOST, Reason.VERSION_REFUSED), (loss.fate, loss.reason))

    def test_not_of_sessions(self) -> None:
        """Its own error it is, if it is for this request, or has a code of this era."""
        for body in (error_body(-32000), error_body(-32600), error_body(-32020, "null"), error_body(-32022, "null")):
            step = complained(begun(modern("tools/list")), 400, body)

            self.assertIsInstance(step.deliveries[0], Error)

    def test_said(self) -> None:
        """
        What it says to humans is told, without what is secret.
        """
        at = rules(Authorization="Bearer s3cret-token")

        [loss] = complained(begun(at=at), 422, b"bad s3cret-token").deliveries

        self.assertEqual("the server answered HTTP 422 (bad ***)", loss.text)

    def test_said_without_what_was_shown(self) -> None:
        """
        Nor is what somebody else added to the request.
        """
        dialogue: Any = begun()
        dialogue.head_received(ResponseHead(422, JSON, shown=("s3cret-token",)), 0.0)

        [loss] = dialogue.body_received(b"bad s3cret-token").deliveries

        self.assertEqual("the server answered HTTP 422 (bad ***)", loss.text)

    def test_error_without_what_was_shown(self) -> None:
        """
        Nor where it is said in an error of JSON-RPC.
        """
        dialogue: Any = begun()
        dialogue.head_received(ResponseHead(400, JSON, shown=("s3cret-token",)), 0.0)

        body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"bad s3cret-token"}}'
        [error] = dialogue.body_received(body).deliveries

        self.assertEqual("bad ***", error.error.message)

    def test_busy(self) -> None:
        """
        A server that names a time is not read any further.
        """
        [loss] = complained(begun(), 503, error_body(-32000), {**JSON, "retry-after": "3"}).deliveries

        self.assertEqual((Fate.REJECTED, 3.0), (loss.fate, loss.retry_after))

    def test_body_is_cut(self) -> None:
        """
        Then the status has to do, too.
        """
        dialogue = begun()
        dialogue.head_received(ResponseHead(404, JSON), 0.0)

        step = dialogue.failed(Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "cut"), 0.0)

        assert isinstance(step, Finish)
        [loss] = step.deliveries
        assert isinstance(loss, Loss)
        self.assertEqual(Reason.UPSTREAM_UNREACHABLE, loss.reason)

    def test_session_lost_elsewhere(self) -> None:
        """
        A session that is lost is no matter of requests that never were in it.
        """
        at = rules()
        at.endpoint.session_lost(404)

        self.assertIsInstance(made(at=at).begin(), Send)


class MarkTests(SynchronousTestCase):
    """Calls whose arguments may have to be said in headers."""

    def test_waits(self) -> None:
        """
        The first call waits until the lists are known; then it says what they want.
        """
        at = rules()
        dialogue = made(CALL, at)

        first = dialogue.begin()
        at.marks.learn(MARKED)
        send = dialogue.proceed()

        assert isinstance(send, Send)
        self.assertEqual((Hold(), ((b"Mcp-Param-A", b"x"),)), (first, send.request.more))

    def test_goes_without(self) -> None:
        """
        If they cannot be had, it goes without.
        """
        dialogue = made(CALL)
        dialogue.begin()

        send = dialogue.proceed()

        assert isinstance(send, Send)
        self.assertEqual((), send.request.more)

    def test_repaired(self) -> None:
        """
        A call turned away for its headers waits for the lists, and goes again with the same id if they say otherwise.
        """
        at = knowing(value({"tools": []}))
        dialogue = begun(CALL, at)

        hold = complained(dialogue, 400, error_body(MISMATCH))
        at.marks.learn(MARKED)
        send: Any = dialogue.proceed()
        dialogue.head_received(ResponseHead(200, JSON), 0.0)
        answer = dialogue.body_received(RESULT)

        self.assertEqual((Hold(), ((b"Mcp-Param-A", b"x"),)), (hold, send.request.more))
        self.assertEqual(7, read(send.request.body)["id"])
        self.assertEqual(Finish((ANSWER,)), answer)

    def test_learnt_meanwhile(self) -> None:
        """
        If another has learnt better in the meantime, it goes again at once.
        """
        at = knowing(value({"tools": []}))
        dialogue = begun(CALL, at)
        at.marks.learn(MARKED)

        send = complained(dialogue, 400, error_body(MISMATCH))

        self.assertEqual(((b"Mcp-Param-A", b"x"),), send.request.more)

    def test_not_repaired(self) -> None:
        """
        If there is nothing new to say, the refusal is the answer.
        """
        dialogue = begun(CALL, knowing())
        complained(dialogue, 400, error_body(MISMATCH))

        step = dialogue.proceed()

        self.assertEqual(Finish((Error(7, ErrorObject(MISMATCH, "no")),)), step)

    def test_repaired_once(self) -> None:
        """
        The second refusal is the answer in any case.
        """
        at = knowing(value({"tools": []}))
        dialogue = begun(CALL, at)
        complained(dialogue, 400, error_body(MISMATCH))
        at.marks.learn(MARKED)
        dialogue.proceed()
        at.marks.learn(value({"tools": [{"name": "t"}]}))

        step = complained(dialogue, 400, error_body(MISMATCH))

        self.assertEqual(Finish((Error(7, ErrorObject(MISMATCH, "no")),)), step)

    def test_never_sent_twice(self) -> None:
        """
        The same code with a success, or another status, comes from a call that may have run.
        """
        for status in (200, 404, 500):
            dialogue = begun(CALL, knowing())
            step: Any = dialogue.head_received(ResponseHead(status, JSON), 0.0)
            step = dialogue.body_received(error_body(MISMATCH))
            self.assertEqual(Finish((Error(7, ErrorObject(MISMATCH, "no")),)), step)

    def test_other_requests(self) -> None:
        """
        What is no call has nothing that lists could repair.
        """
        step = complained(begun(modern("prompts/get", name="t", arguments={"a": "x"})), 400, error_body(MISMATCH))

        self.assertEqual(Finish((Error(7, ErrorObject(MISMATCH, "no")),)), step)


class StreamTests(SynchronousTestCase):
    """What a stream means."""

    def _streaming(self) -> ModernRequestDialogue:
        dialogue = begun()
        self.assertIsInstance(dialogue.head_received(ResponseHead(200, EVENTS), 0.0), ReadEvents)
        return dialogue

    def test_events(self) -> None:
        """
        Notifications pass; questions, arrays, answers to others, and noise do not.
        """
        dialogue = self._streaming()

        told = [
            dialogue.event_received(name, data)
            for name, data in [
                ("message", b'{"jsonrpc":"2.0","method":"n"}'),
                ("message", b""),
                ("endpoint", b"/x"),
                ("message", b"{broken"),
                ("message", b'{"jsonrpc":"2.0","id":1,"method":"roots/list"}'),
                ("message", RESULT.replace(b"7", b"8")),
                ("message", b"[%b]" % RESULT),
                ("message", b'{"jsonrpc":"2.0","id":8,"result":{},"error":1}'),
            ]
        ]

        self.assertEqual([(Notification("n"),), (), ()], told[:3])
        self.assertEqual([Noise] * 5, [type(each) for [each] in told[3:]])
        self.assertFalse(dialogue.settled)

    def test_answer_settles(self) -> None:
        """
        The answer settles it; nothing that comes after it means anything.
        """
        dialogue = self._streaming()

        told = dialogue.event_received("message", RESULT)
        after = dialogue.event_received("message", RESULT)

        self.assertEqual(((ANSWER,), ()), (told, after))
        self.assertTrue(dialogue.settled)
        self.assertEqual(Finish(), dialogue.ended(0.0, "e1"))
        self.assertEqual(Finish(), dialogue.failed(Loss(Fate.FAILED, Reason.MALFORMED, "x"), 0.0))

    def test_cut(self) -> None:
        """
        A stream that ends too early cannot be resumed, even if it had ids.
        """
        dialogue = self._streaming()
        dialogue.retry_received(100)

        self.assertEqual(Finish((CUT,)), dialogue.ended(0.0, "e1"))

    def test_answered_elsewhere(self) -> None:
        """
        If the answer came in another way, this one has nothing to add.
        """
        dialogue = self._streaming()
        dialogue.answered_elsewhere()

        self.assertEqual((), dialogue.event_received("message", RESULT))
        self.assertEqual(Finish(), dialogue.ended(0.0, ""))

    @given(st.lists(st.sampled_from(["event", "answer", "end", "cut", "fail", "busy", "mismatch", "ok"]), max_size=20))
    @settings(max_examples=300, derandomize=True, deadline=None)
    def test_exactly_one_outcome(self, happenings: list[str]) -> None:
        """
        Whatever happens in whatever order: one answer or one loss, never both, never two; and two requests at most.
        """
        at = rules()
        dialogue = made(CALL, at)
        step: Any = dialogue.begin()
        told: list[Any] = []
        sent = 0
        for happening in happenings:
            sent += isinstance(step, Send)
            if isinstance(step, Finish):
                break
            if isinstance(step, Hold):
                if happening == "ok":
                    at.marks.learn(MARKED)
                step = dialogue.proceed()
            elif isinstance(step, Send):
                step = self._on_send(dialogue, happening)
            elif happening in ("event", "answer"):
                told += dialogue.event_received("message", RESULT if happening == "answer" else b"")
            elif happening == "fail":
                step = dialogue.failed(Loss(Fate.FAILED, Reason.MALFORMED, "x"), 0.0)
            else:
                step = dialogue.ended(0.0, "e")
        if isinstance(step, Finish):
            told += step.deliveries
            self.assertTrue(told)

        self.assertLessEqual(sum(isinstance(each, Loss | Result | Error) for each in told), 1)
        self.assertLessEqual(sent, 2)

    def _on_send(self, dialogue: ModernRequestDialogue, happening: str) -> Any:
        if happening in ("cut", "fail"):
            return dialogue.failed(Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "x"), 0.0)
        if happening == "mismatch":
            return complained(dialogue, 400, error_body(MISMATCH))
        status = {"busy": 503}.get(happening, 200)
        step: Any = dialogue.head_received(ResponseHead(status, EVENTS), 0.0)
        return dialogue.body_received(b"") if isinstance(step, ReadBody) else step
