"""
Tests for L{mcpbridge.upstream.http_call}.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import BareDialogue, Finish, Hold, Noise, ReadBody, ReadEvents, Send, Step
from mcpbridge.core.bindings.http import HTTPRequest, ResponseHead
from mcpbridge.core.errors import Loss
from mcpbridge.upstream.http_call import Call, Wire
from tests.upstream.httpworld import World

GET = HTTPRequest("GET", "http://server/a", ((b"X", b"y"),))
POST = HTTPRequest("POST", "http://server/a", (), b"abc")
DONE = Finish((Noise("done"),))


@attrs.define(eq=False)
class Script(BareDialogue):
    """Takes the steps it was given, and notes what it is told."""

    steps: list[Step]
    told: list[Any] = attrs.field(factory=list)
    shown: tuple[str, ...] = ()

    def begin(self) -> Step:
        """The first."""
        return self.steps.pop(0)

    def proceed(self) -> Step:
        """The next."""
        return self.steps.pop(0)

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """The next."""
        self.told.append((head.status, head.media_type, head.length))
        self.shown = head.shown
        return self.steps.pop(0)

    def body_received(self, body: bytes) -> Step:
        """The next."""
        self.told.append(body)
        return self.steps.pop(0)

    def event_received(self, name: str, data: bytes) -> tuple[Any, ...]:
        """Pass it on."""
        return (Noise(f"{name} {data.decode()}"),)

    def retry_received(self, milliseconds: int) -> None:
        """Note it."""
        self.told.append(milliseconds)

    def ended(self, now: float, last_event_id: str) -> Step:
        """The next."""
        self.told.append(("ended", now, last_event_id))
        return self.steps.pop(0)

    def failed(self, loss: Loss, now: float) -> Step:
        """The next."""
        self.told.append(("failed", loss.fate.name, now))
        return self.steps.pop(0)


class CallTests(SynchronousTestCase):
    """Performing."""

    def setUp(self) -> None:
        """A world, and nobody told anything."""
        self.world = World()
        self.wire = Wire(self.world.client, self.world.clock)
        self.told: list[Any] = []

    def delivered(self, call: Call, delivery: Any) -> None:
        """Note it."""
        self.told.append(delivery.text)

    def written(self, call: Call) -> None:
        """Note it."""
        self.told.append("written")

    def held(self, call: Call) -> None:
        """Note it."""
        self.told.append("held")

    def settled(self, call: Call) -> None:
        """Note it."""
        self.told.append("settled")

    def finished(self, call: Call) -> None:
        """Note it."""
        self.told.append("finished")

    def performed(self, *steps: Step) -> tuple[Call, Script]:
        """A call that takes these steps."""
        script = Script(list(steps))
        call = Call(self.wire, script, self)
        call.start()
        return call, script

    def test_body(self) -> None:
        """
        Request, head, body, end.
        """
        call, script = self.performed(Send(POST), ReadBody(10), DONE)

        self.world.take()[1].answers(200, b"xyz", Content_Type="A/B; c")

        self.assertEqual([(200, "a/b", 3), b"xyz"], script.told)
        self.assertEqual(["written", "done", "finished"], self.told)
        self.successResultOf(call.when_over())

    def test_held(self) -> None:
        """
        It does nothing until it may proceed; a body that nobody wants is read to its end all the same.
        """
        call, _ = self.performed(Hold(), Send(POST), Hold(), Send(GET), DONE)
        first = list(self.told)
        call.proceed()
        self.world.take()[1].answers(400, b"xyz")
        second = list(self.told)

        call.proceed()
        asked, wire = self.world.take()
        wire.answers(200)

        self.assertEqual(["held"], first)
        self.assertEqual(["held", "written", "held"], second)
        self.assertEqual("GET", asked.method)
        self.assertEqual(["done", "finished"], self.told[3:])
        self.assertEqual(1, len(self.world.wires))

    def test_closed_while_held(self) -> None:
        """
        Who is closed does not proceed.
        """
        call, script = self.performed(Hold(), Send(POST))

        call.close()
        call.proceed()

        self.assertEqual(([Send(POST)], ["held"]), (script.steps, self.told))

    def test_shown(self) -> None:
        """
        A dialogue that is refused learns what the server was shown, and only then.
        """
        headers = ((b"Authorization", b"Bearer s3cret-token"), (b"Accept", b"application/json"))
        shown = []

        for status in (200, 401):
            _, script = self.performed(Send(HTTPRequest("GET", "http://server/a", headers)), DONE)
            self.world.take()[1].answers(status)
            shown.append(script.shown)

        self.assertEqual([(), ("Bearer s3cret-token", "s3cret-token")], shown)

    def test_more_headers(self) -> None:
        """
        Headers of one request do not go along with the next.
        """
        request = HTTPRequest("GET", "http://server/a", ((b"X", b"y"),), None, ((b"Mcp-Param-A", b"b"),))
        asked = []

        for each in (request, GET, request):
            self.performed(Send(each), DONE)
            found, wire = self.world.take()
            asked.append((found.headers["x"], found.headers.get("mcp-param-a")))
            wire.answers(200)

        self.assertEqual([("y", "b"), ("y", None), ("y", "b")], asked)

    def test_events(self) -> None:
        """
        Events as they come, then the end, with the last id.
        """
        _, script = self.performed(Send(GET), ReadEvents(1000), DONE)
        _, wire = self.world.take()

        wire.streams(b"id: 7\nretry: 5\ndata: x\n\n", b"event: e\ndata: y\n\n")
        before = list(self.told)
        wire.drop()

        self.assertEqual(["message x", "e y"], before)
        self.assertEqual([(200, "text/event-stream", None), 5, ("ended", 0.0, "7")], script.told)
        self.assertEqual(["done", "finished"], self.told[2:])

    def test_later(self) -> None:
        """
        A request that is to wait waits, and can be given up while it does.
        """
        self.performed(Send(GET, 3.0), DONE)
        call, _ = self.performed(Send(GET, 3.0), DONE)
        over = call.when_over()
        call.close()

        self.world.turn(2.9)
        before = self.world.asked()
        self.world.turn(0.1)

        self.assertEqual(([], ["GET"]), (before, self.world.asked()))
        self.successResultOf(over)
        self.assertEqual([], self.told)

    def test_deadline(self) -> None:
        """
        A head that does not come in time is a failure, and closes the connection.
        """
        _, script = self.performed(Send(GET, 0.0, 5.0), DONE)

        self.world.turn(5.0)
        self.world.turn()

        self.assertEqual([("failed", "UNKNOWN", 5.0)], script.told)
        self.assertEqual(0, self.world.open)

    def test_unwanted_body(self) -> None:
        """
        A small body that nobody wants is read, so that the connection can be used again; a stream is cut.
        """
        self.performed(Send(GET), DONE)
        self.world.take()[1].answers(404, b"not here")
        self.performed(Send(GET), DONE)
        reused = len(self.world.wires)
        self.world.take()[1].streams()
        self.world.turn()

        self.assertEqual((1, 0, []), (reused, self.world.open, self.world.clock.getDelayedCalls()))

    def test_endless_unwanted_body(self) -> None:
        """
        A large one is not.
        """
        self.performed(Send(GET), DONE)
        _, wire = self.world.take()

        wire.begins(500)
        wire.says(b"x" * 70_000)
        self.world.turn()

        self.assertEqual((0, []), (self.world.open, self.world.clock.getDelayedCalls()))

    def test_too_large(self) -> None:
        """
        An event over the limit fails the call; what came before it counts.
        """
        _, script = self.performed(Send(GET), ReadEvents(100), DONE)

        self.world.take()[1].streams(b"data: x\n\n", b"data: " + b"y" * 200)

        self.assertEqual(["message x", "done", "finished"], self.told)
        self.assertEqual(("failed", "FAILED", 0.0), script.told[-1])

    def test_closed_at_any_time(self) -> None:
        """
        Before the connection, before the head, in a body, in a stream: nothing is told, nothing left.
        """
        for prepare in (self._connecting, self._asking, self._reading, self._streaming):
            self.setUp()
            call = prepare()
            told = list(self.told)

            call.close()
            call.close()
            self.world.connects()
            self.world.turn()

            self.assertEqual((told, 0), (self.told, self.world.open), prepare)
            self.assertEqual([], self.world.clock.getDelayedCalls())

    def _connecting(self) -> Call:
        self.world.slow = True
        return self.performed(Send(POST), DONE)[0]

    def _asking(self) -> Call:
        return self.performed(Send(POST), DONE)[0]

    def _reading(self) -> Call:
        call, _ = self.performed(Send(POST), ReadBody(10, 5.0), DONE)
        self.world.take()[1].begins(200, Content_Length="5")
        return call

    def _streaming(self) -> Call:
        call, _ = self.performed(Send(POST), ReadEvents(10, 5.0), DONE)
        self.world.take()[1].streams(b"data: x\n\n")
        return call

    def test_bug_of_ours(self) -> None:
        """
        A dialogue that fails is logged, and still comes to an end.
        """
        self.performed(Send(GET))

        self.world.take()[1].answers(200, b"x")

        self.assertEqual(["the bridge failed on the answer of the server; its log says more", "finished"], self.told)
        self.assertEqual(1, len(self.flushLoggedErrors(IndexError)))
