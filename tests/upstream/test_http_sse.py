"""
Tests for L{mcpbridge.upstream.http_sse}.
"""

from __future__ import annotations

import gc
from typing import Any

import attrs
from msgspec import Raw
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.jsonrpc import Notification, Request, Result
from mcpbridge.interfaces import IMessageTransport
from mcpbridge.upstream.http_sse import HTTPSSETransport
from tests.upstream.httpworld import Wire, World
from tests.upstream.recordinglink import RecordingLink

CALL = Request(1, "tools/call", Raw(b"{}"))
RESULT = b'data: {"jsonrpc":"2.0","id":1,"result":{}}\n\n'
ANSWER = ("received", Result(1, Raw(b"{}")), None)
ENDPOINT = b"event: endpoint\ndata: /messages?s=1\n\n"


@attrs.define(eq=False)
class Scene:
    """A transport that connects, and the server that it connects to."""

    world: World = attrs.field(factory=World)
    link: RecordingLink = attrs.field(factory=RecordingLink)
    transport: HTTPSSETransport = attrs.field(init=False)
    connecting: Deferred[None] = attrs.field(init=False)
    stream: Wire = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.transport = HTTPSSETransport(
            self.world.clock, self.world.client, "http://server/sse", {"X-Key": "k3y"}, limits=HTTPLimits()
        )
        self.connecting = self.transport.connect(self.link)
        asked, self.stream = self.world.take()
        assert (asked.method, asked.target, asked.headers["x-key"]) == ("GET", "/sse", "k3y")

    def opened(self) -> Scene:
        """The endpoint was named."""
        self.stream.streams(ENDPOINT)
        return self

    def loss(self, case: SynchronousTestCase) -> Loss:
        """Why there is no connection."""
        unavailable: Any = case.failureResultOf(self.connecting, UpstreamUnavailable).value
        loss: Loss = unavailable.loss
        return loss


class ConnectTests(SynchronousTestCase):
    """The stream and the endpoint."""

    def test_provides(self) -> None:
        """
        It is a transport.
        """
        self.assertTrue(verifyObject(IMessageTransport, Scene().transport))

    def test_endpoint(self) -> None:
        """
        The connection stands when the endpoint is known, not before.
        """
        scene = Scene()
        scene.stream.streams()
        self.assertNoResult(scene.connecting)

        scene.stream.says(ENDPOINT)

        self.successResultOf(scene.connecting)

    def test_other_origin(self) -> None:
        """
        An endpoint of another origin is refused, and nothing is sent there.
        """
        scene = Scene()

        scene.stream.streams(b"event: endpoint\ndata: http://evil/messages\n\n")

        loss = scene.loss(self)
        self.assertEqual((Fate.FAILED, Reason.MALFORMED), (loss.fate, loss.reason))
        self.assertIn("http://evil:80, which is not used", loss.text)

    def test_deadline(self) -> None:
        """
        A server that does not name it in fifteen seconds is given up.
        """
        scene = Scene()
        scene.stream.streams()

        scene.world.turn(15.0)

        loss = scene.loss(self)
        self.assertEqual((Fate.NEVER_SENT, Reason.UPSTREAM_TIMEOUT), (loss.fate, loss.reason))

    def test_statuses(self) -> None:
        """
        What refuses the stream says why; a server in trouble may be asked again.
        """
        for status, fate, reason in [
            (401, Fate.REJECTED, Reason.AUTH_REQUIRED),
            (404, Fate.FAILED, Reason.UPSTREAM_UNREACHABLE),
            (500, Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE),
        ]:
            scene = Scene()
            scene.stream.answers(status)
            loss = scene.loss(self)
            self.assertEqual((fate, reason), (loss.fate, loss.reason))

    def test_page(self) -> None:
        """
        A page is no stream.
        """
        scene = Scene()

        scene.stream.answers(200, b"<html>", Content_Type="text/html")

        self.assertIn("text/html", scene.loss(self).text)

    def test_unreachable(self) -> None:
        """
        Nobody there.
        """
        scene = Scene()

        scene.stream.drop()

        self.assertEqual(Fate.NEVER_SENT, scene.loss(self).fate)

    def test_cancelled(self) -> None:
        """
        Giving up closes the stream.
        """
        scene = Scene()
        scene.stream.streams()

        scene.connecting.cancel()
        self.failureResultOf(scene.connecting)
        scene.world.turn()

        self.assertEqual((0, []), (scene.world.open, scene.world.clock.getDelayedCalls()))


class MessageTests(SynchronousTestCase):
    """Messages both ways."""

    def test_call(self) -> None:
        """
        A request is POSTed to the endpoint; its answer comes on the stream.
        """
        scene = Scene().opened()
        scene.transport.send(CALL)
        asked, wire = scene.world.take()

        wire.answers(202, b"Accepted")
        scene.stream.says(RESULT)

        self.assertEqual(("POST", "/messages?s=1", "k3y"), (asked.method, asked.target, asked.headers["x-key"]))
        self.assertEqual([ANSWER], scene.link.told)

    def test_refused(self) -> None:
        """
        A request that is not accepted is lost.
        """
        scene = Scene().opened()
        scene.transport.send(CALL)

        scene.world.take()[1].answers(500)

        [(told, request_id, loss)] = scene.link.told
        self.assertEqual(("request_lost", 1, Fate.UNKNOWN), (told, request_id, loss.fate))

    def test_answered_before_refused(self) -> None:
        """
        Unless its answer has come already.
        """
        scene = Scene().opened()
        scene.transport.send(CALL)
        scene.stream.says(RESULT)

        scene.world.take()[1].answers(500)

        self.assertEqual([ANSWER], scene.link.told)

    def test_stream_ends(self) -> None:
        """
        The end of the stream is the end of everything.
        """
        scene = Scene().opened()

        scene.stream.drop()
        scene.transport.send(CALL)
        scene.world.turn()

        loss = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the event stream ended, and with it the session")
        self.assertEqual([("disconnected", loss)], scene.link.told)
        self.assertEqual([], scene.world.asked())

    def test_paused(self) -> None:
        """
        While paused the stream is not read.
        """
        scene = Scene().opened()

        scene.transport.pause()
        scene.stream.says(RESULT)
        paused = (scene.link.take(), scene.stream.paused)
        scene.transport.resume()

        self.assertEqual(([], True), paused)
        self.assertEqual(([ANSWER], False), (scene.link.told, scene.stream.paused))

    def test_abandoned(self) -> None:
        """
        Of an abandoned request nothing is told.
        """
        scene = Scene().opened()
        scene.transport.send(CALL)

        scene.transport.abandon(1)
        scene.world.take()[1].answers(500)

        self.assertEqual([], scene.link.told)

    def test_disconnect(self) -> None:
        """
        Everything is closed, and nothing told.
        """
        scene = Scene().opened()
        scene.transport.send(CALL)

        gone = scene.transport.disconnect()
        scene.world.turn()

        self.successResultOf(gone)
        self.assertEqual((0, [], []), (scene.world.open, scene.world.clock.getDelayedCalls(), scene.link.told))

    def test_last_words(self) -> None:
        """
        A notification that the server never accepts is waited for a second, and then forgotten without a trace.
        """
        scene = Scene().opened()
        scene.transport.send(Notification("notifications/cancelled"))
        gone = scene.transport.disconnect()
        scene.world.turn()
        self.assertNoResult(gone)

        scene.world.turn(1.0)
        gc.collect()

        self.successResultOf(gone)
        self.assertEqual((0, []), (scene.world.open, self.flushLoggedErrors()))

    def test_noise(self) -> None:
        """
        Events of other names and events that are no JSON are skipped; the conversation goes on.
        """
        scene = Scene().opened()

        scene.stream.says(b"event: ping\ndata: x\n\ndata: {broken\n\ndata:\n\n" + RESULT)

        self.assertEqual([ANSWER], scene.link.told)
        scene.transport.send(Notification("a"))
        self.assertEqual(['POST {"jsonrpc":"2.0","method":"a"}'], scene.world.asked())
