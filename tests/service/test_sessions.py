"""
Tests for L{mcpbridge.service.sessions} and L{mcpbridge.service.links} where something of ours fails. What they do when
nothing does is in L{tests.service.test_receptions}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from msgspec import Raw

from mcpbridge.core.bridge import Bridge
from mcpbridge.core.effects import StartTimer
from mcpbridge.core.errors import INTERNAL_ERROR, ConfigurationError, Reason
from mcpbridge.core.jsonrpc import Error, Notification, Request, RequestId, Result
from mcpbridge.service.receptions import Reception
from mcpbridge.service.sessions import Session
from tests.fakes import FakeClientTransport, FakeTransport
from tests.service.test_receptions import GONE, Served, call, code, opening, reason


class Bug(Exception):
    """One of ours."""


@attrs.define(eq=False)
class Faulty:
    """
    Stands before something, and fails where it is told to.

    @ivar fails: the names of what fails now.
    @ivar once: it does so only once.
    """

    inner: Any
    fails: set[str] = attrs.Factory(set)
    once: bool = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        return self._bug if name in self.fails and callable(found) else found

    def _bug(self, *_: object, **__: object) -> Any:
        if self.once:
            self.fails.clear()
        raise Bug("a bug")


def legacy(reception: Reception) -> Session:
    """The session of the session era."""
    session = reception._legacy
    assert session is not None
    return session


class FailureTests(Served):
    """Whatever fails is logged, whoever waits is told, and the others notice nothing."""

    def faulty_peer(self, reception: Reception, *fails: str) -> Faulty:
        """From now on our end of the conversation with this client fails in these."""
        session = legacy(reception)
        faulty = Faulty(session.peer, set(fails))
        session.peer = faulty  # type: ignore[assignment]  # it does all that the other does
        return faulty

    def faulty_bridge(self, reception: Reception, *fails: str) -> Faulty:
        """The same for what joins the client to the server."""
        link = legacy(reception)._link
        assert link is not None
        faulty = Faulty(link.bridge, set(fails))
        link.bridge = faulty  # type: ignore[assignment]  # as above
        return faulty

    def bugs(self, expected: int = 1) -> None:
        """So many were logged, with the name of the server."""
        self.assertEqual(expected, len(self.flushLoggedErrors(Bug)))

    def check_others(self) -> None:
        """Another client is served."""
        session, transport = self.opened()

        self.say(session, call("other"))

        self.assertEqual([Result("other", Raw(b'{"content":[]}'))], transport.sent)
        session.disconnected(GONE)

    def check_goes_on(self, session: Reception, transport: FakeClientTransport) -> None:
        """The client is served as before."""
        transport.sent.clear()

        self.say(session, call("on"))
        # What was lost is asked again after a moment.
        self.clock.pump([0.1] * 20)

        self.assertEqual([Result("on", Raw(b'{"content":[]}'))], transport.sent)

    def internal(self, transport: FakeClientTransport, *asked: RequestId) -> None:
        """These, and no others, were answered, once each, with an internal error."""
        answers = transport.answers()
        self.assertEqual(dict.fromkeys(asked, INTERNAL_ERROR), {key: code(answer) for key, answer in answers.items()})

    def test_told(self) -> None:
        """Our end fails on what the server says: all that the client waits for ends, at the server too."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"), call(2, "slow"))
        self.faulty_peer(session, "send").once = True
        (server,) = self.server.transports

        self.say(session, call(3))

        self.bugs()
        self.internal(transport, 1, 2, 3)
        cancelled = [m for m in server.sent if isinstance(m, Notification) and m.method == "notifications/cancelled"]
        self.assertEqual(2, len(cancelled))
        self.check_goes_on(session, transport)
        self.check_others()

    def test_told_for_ever(self) -> None:
        """It fails on everything: each request gets an error, and nothing goes round in circles meanwhile."""
        session, transport = self.opened()
        faulty = self.faulty_peer(session, "send")

        for number in range(3):
            self.say(session, call(number + 1))
        logged = len(self.flushLoggedErrors(Bug))
        self.clock.pump([1.0] * 100)

        self.internal(transport, 1, 2, 3)
        self.assertLess(logged, 20)
        self.assertEqual([], self.flushLoggedErrors(Bug))
        faulty.fails.clear()
        self.check_goes_on(session, transport)

    def test_fired(self) -> None:
        """A timer of it fails: likewise."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"))
        self.faulty_peer(session, "fired")
        legacy(session).perform([StartTimer("x", 5.0)])

        self.clock.advance(5.0)
        self.settle()

        self.bugs()
        self.internal(transport, 1)
        self.check_goes_on(session, transport)

    def test_late_answer(self) -> None:
        """It cannot even be closed, and goes on with what it was in the middle of: nothing is answered twice."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"))
        faulty = self.faulty_peer(session, "close", "memento", "fired")
        legacy(session).perform([StartTimer("x", 1.0)])
        self.clock.advance(1.0)
        faulty.fails.clear()
        (server,) = self.server.transports
        assert server.link is not None

        server.link.received(Result(server.requests("tools/call")[0].id, Raw(b"{}")), None)
        self.settle()

        self.bugs(3)
        self.internal(transport, 1)
        self.check_goes_on(session, transport)

    def test_received(self) -> None:
        """It fails on one message of the client: that costs this one request, and no other."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"))
        faulty = self.faulty_peer(session, "receive")

        self.say(session, call(2), Notification("x"))
        faulty.fails.clear()

        self.bugs(2)
        self.internal(transport, 2)
        self.check_goes_on(session, transport)

    def test_received_in_a_batch(self) -> None:
        """Its error comes in the array of the others."""
        session, transport = self.opened("2025-03-26")
        faulty = self.faulty_peer(session, "receive")

        session.received_batch([Request(1, "ping"), Request(2, "ping")])
        faulty.fails.clear()

        self.bugs(2)
        ((first, second),) = transport.batches
        self.assertEqual(([], [1, 2]), (transport.sent, [first.id, second.id]))  # type: ignore[union-attr]  # both have one

    def test_moved_and_stopped(self) -> None:
        """A reload and an end reach every client, whatever fails at one."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"))
        self.faulty_peer(session, "close", "memento", "no_more", "receive_garbage")

        session.move(self.service, "gone")
        session.stop("the end")
        session.disconnected(GONE)

        self.flushLoggedErrors(Bug)
        self.internal(transport, 1)
        self.assertEqual([session], self.ended)

    def test_memento(self) -> None:
        """What cannot be said of a client is not kept in place of what could."""
        session, transport = self.opened()
        before = transport.state
        self.faulty_peer(session, "memento")

        self.say(session, Notification("notifications/initialized"))

        self.bugs()
        self.assertEqual(before, transport.state)

    def test_bridge_receives(self) -> None:
        """What joins clients and server fails on what the server says: its conversation ends, and everybody is told."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"))
        faulty = self.faulty_bridge(session, "received")
        (server,) = self.server.transports
        assert server.link is not None

        server.link.received(Notification("x"), None)
        faulty.fails.clear()
        self.settle()

        self.bugs()
        answers = transport.answers()
        self.assertEqual([1], list(answers))
        self.assertEqual(("upstream_lost_outcome_unknown", True), (reason(answers[1]), server.is_disconnected))
        self.check_goes_on(session, transport)
        self.check_others()

    def test_bridge_ticks(self) -> None:
        """It fails on a timer."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"))
        faulty = self.faulty_bridge(session, "fired")

        self.clock.advance(1.0)
        faulty.fails.clear()
        self.settle()

        self.assertNotEqual([], self.flushLoggedErrors(Bug))
        self.assertEqual([1], list(transport.answers()))
        self.check_goes_on(session, transport)
        self.check_others()

    def test_bridge_fails_at_all(self) -> None:
        """It fails on everything: the client has its answer all the same."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"))
        fails = ["received", "fired", "disconnected", "detach", "deliver"]
        faulty = self.faulty_bridge(session, *fails)
        (server,) = self.server.transports
        assert server.link is not None

        server.link.received(Notification("x"), None)
        self.settle()
        self.say(session, call(2))

        self.assertNotEqual([], self.flushLoggedErrors(Bug))
        self.internal(transport, 1, 2)
        faulty.fails.clear()
        self.check_goes_on(session, transport)
        self.check_others()

    def test_bridge_delivers(self) -> None:
        """It fails on what the client says: that costs this one request."""
        session, transport = self.opened()
        self.say(session, call(1, "slow"))
        faulty = self.faulty_bridge(session, "deliver")

        self.say(session, call(2))
        faulty.fails.clear()

        self.bugs()
        self.internal(transport, 2)
        self.check_goes_on(session, transport)

    def _with_server(self, make: Callable[[FakeTransport], Any]) -> None:
        inner = self.server.make
        self.server.make = lambda *_: make(inner())  # type: ignore[method-assign]  # that is the test
        self.service = self.make_service()

    def test_transport_sends(self) -> None:
        """A transport fails where none may: its conversation is lost, the call is answered, and the next one works."""
        made: list[Faulty] = []

        def make(transport: FakeTransport) -> Any:
            made.append(Faulty(transport))
            return made[-1]

        self._with_server(make)
        session, transport = self.opened()
        made[0].fails.add("send")

        self.say(session, call(1), Request(2, "ping"))

        self.assertNotEqual([], self.flushLoggedErrors(Bug))
        answers = transport.answers()
        self.assertEqual("upstream_lost_outcome_unknown", reason(answers[1]))
        self.assertIsInstance(answers[2], Result)
        self.check_goes_on(session, transport)

    def test_transport_disconnects(self) -> None:
        """One that cannot be ended is logged, and the others are ended."""

        def make(transport: FakeTransport) -> Any:
            return Faulty(transport, {"disconnect"})

        self._with_server(make)
        self.opened()

        stopped = self.service.stop(Reason.STOPPING, "the end")

        self.successResultOf(stopped)
        self.bugs()

    def test_no_transport(self) -> None:
        """None can be made: what the configuration has to do with it is said at once, a bug is called one."""
        for error, text in ((Bug("x"), "itself failed (Bug)"), (ConfigurationError("the header X is bad"), "X is bad")):

            def make(_: FakeTransport, error: Exception = error) -> Any:
                raise error

            self.setUp()
            self._with_server(make)
            transport = FakeClientTransport()
            session = self.start(transport)

            self.say(session, opening())

            answer = transport.answers()[0]
            assert isinstance(answer, Error)
            self.assertIn(text, answer.error.message)
            self.flushLoggedErrors(Bug, ConfigurationError)

    def test_bridge_is_the_real_one(self) -> None:
        """What the tests above make fail is there."""
        session, _ = self.opened()
        names = ("received", "fired", "disconnected", "detach", "deliver", "wake", "close", "connected", "request_lost")

        self.assertEqual([], [name for name in names if not hasattr(Bridge, name)])
        self.assertEqual([], [name for name in ("send", "fired", "close") if not hasattr(legacy(session).peer, name)])
