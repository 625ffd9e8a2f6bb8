"""
Tests for L{mcpbridge.core.negotiation}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import Abandon, Deliver, Emit, PeerEffect, StartTimer
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import Called, Completed, Event, Failed, Lost, Native, Opened
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Request, RequestId, Result
from mcpbridge.core.negotiation import LEGACY, MODERN, SILENCE, Negotiation, Verdict
from tests.core.eras.modern import schema

OLD = "2025-06-18"
NEW = "2026-07-28"
DISCOVER = "server/discover"
EXITED = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "exited")


def raw(value: Any) -> Raw:
    """Plain Python as JSON."""
    return jsonrpc.value(value)


INITIALIZED = raw({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}})
DISCOVERED = raw({"supportedVersions": [NEW], "capabilities": {}})
UNKNOWN = ErrorObject(-32601, "Method not found")


def unsupported(*versions: str, code: int = -32022) -> ErrorObject:
    """A refusal of the revision."""
    return ErrorObject(code, "no", raw({"supported": list(versions), "requested": "x"}))


class Rig:
    """A negotiation, opened as exchange 1."""

    def __init__(self, version: str, era: str | None = None, *, fixed: bool = False) -> None:
        self.verdict = Verdict(era, fixed)
        self.peer = Negotiation(self.verdict, "up")
        self.asked: list[tuple[RequestId, str]] = []
        self.params: list[Any] = []
        self.events: list[Event] = []
        self.abandoned: list[RequestId] = []
        self.timers: dict[Any, float] = {}
        params = {"capabilities": raw({}), "protocolVersion": raw(version)}
        self.do(self.peer.send(Opened(1, version, params)))

    def do(self, effects: Sequence[PeerEffect]) -> None:
        for effect in effects:
            match effect:
                case Emit(Request(request_id, method, params)):
                    said = jsonrpc.read(params or b"{}")
                    version = said.get("protocolVersion") or (NEW if "_meta" in said else OLD)
                    schema.check_from_client(Request(request_id, method, params), version)
                    self.asked.append((request_id, method))
                    self.params.append(said)
                case Deliver(event):
                    self.events.append(event)
                case Abandon(request_id):
                    self.abandoned.append(request_id)
                case StartTimer(key, seconds):
                    self.timers[key] = seconds

    def answers(self, request_id: RequestId, answer: Raw | ErrorObject) -> None:
        message = Error(request_id, answer) if isinstance(answer, ErrorObject) else Result(request_id, answer)
        self.do(self.peer.receive(message, request_id))

    def outcome(self) -> list[type[Event]]:
        return [type(event) for event in self.events]


class OwnEraTests(SynchronousTestCase):
    """The client's own era is tried first."""

    def test_interface(self) -> None:
        """It provides its door."""
        self.assertTrue(verifyObject(IClientPeer, Rig(OLD).peer))

    def test_session_era(self) -> None:
        """A client of the session era and its server see nothing of this."""
        rig = Rig(OLD)

        rig.answers(1, INITIALIZED)

        self.assertEqual([(1, "initialize")], rig.asked)
        self.assertEqual((OLD, None), (rig.params[0]["protocolVersion"], rig.verdict.era))
        self.assertEqual([Completed], rig.outcome())

    def test_stateless_era(self) -> None:
        """Nor does one of the stateless era."""
        rig = Rig(NEW)

        rig.answers(1, DISCOVERED)

        self.assertEqual(([(1, DISCOVER)], None), (rig.asked, rig.verdict.era))
        self.assertEqual([Completed], rig.outcome())

    def test_both(self) -> None:
        """A server that speaks both goes on with each client in its own: what one has found binds no other."""
        first = Rig(OLD)
        first.answers(1, INITIALIZED)
        second = Rig(NEW, first.verdict.era)

        second.answers(1, DISCOVERED)

        self.assertEqual(([(1, DISCOVER)], None), (second.asked, second.verdict.era))

    def test_name(self) -> None:
        """Where the client does not say who it is, and a name is needed, it is ours."""
        rig = Rig(OLD)

        self.assertEqual("mcpbridge", rig.params[0]["clientInfo"]["name"])


class OtherEraTests(SynchronousTestCase):
    """The server speaks the other one."""

    def test_server_of_the_session_era(self) -> None:
        """Any refusal of C{server/discover} that is no word of the stateless era is one of the other."""
        refusals: Sequence[Raw | ErrorObject] = (
            UNKNOWN,
            ErrorObject(-32600, "not initialized"),
            unsupported("2025-11-25"),
            unsupported("2024-11-05", code=-32004),
            unsupported(),
            raw({}),
            raw([]),
            raw({"supportedVersions": ["2025-11-25"], "capabilities": {}}),
        )
        for refusal in refusals:
            rig = Rig(NEW)

            rig.answers(1, refusal)
            rig.answers(2, INITIALIZED)

            self.assertEqual([(1, DISCOVER), (2, "initialize")], rig.asked, refusal)
            self.assertEqual(("2025-11-25", LEGACY), (rig.params[1]["protocolVersion"], rig.verdict.era))
            self.assertEqual([Completed], rig.outcome())

    def test_server_of_the_stateless_era(self) -> None:
        """Any error to C{initialize} is worth a C{server/discover}."""
        for refusal in (UNKNOWN, unsupported(NEW), ErrorObject(-32602, "Missing _meta")):
            rig = Rig(OLD)

            rig.answers(1, refusal)
            rig.answers(2, DISCOVERED)

            self.assertEqual([(1, "initialize"), (2, DISCOVER)], rig.asked)
            self.assertEqual((MODERN, [Completed]), (rig.verdict.era, rig.outcome()))

    def test_handshake_of_no_session(self) -> None:
        """A server that answers C{initialize} with a revision that has no sessions is spoken to in its own words."""
        rig = Rig(OLD)

        rig.answers(1, raw({"protocolVersion": NEW, "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}))
        rig.answers(2, DISCOVERED)

        self.assertEqual([(1, "initialize"), (2, DISCOVER)], rig.asked)
        self.assertEqual((MODERN, [Completed]), (rig.verdict.era, rig.outcome()))

    def test_refused_without_a_word(self) -> None:
        """HTTP 404 or a page of HTML to C{server/discover} is of the session era; failures of the network are none."""
        tried = {
            Loss(Fate.FAILED, Reason.UPSTREAM_UNREACHABLE, "HTTP 404"): True,
            Loss(Fate.FAILED, Reason.MALFORMED, "HTML"): True,
            Loss(Fate.SESSION_LOST, Reason.SESSION_LOST, "HTTP 404"): True,
            Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "refused"): False,
            Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "reset"): False,
            Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "HTTP 401"): False,
            Loss(Fate.FAILED, Reason.AUTH_FAILED, "HTTP 403"): False,
        }
        for loss, other in tried.items():
            rig = Rig(NEW)

            rig.do(rig.peer.lost(1, loss))

            self.assertEqual((2 if other else 1, [] if other else [Lost]), (len(rig.asked), rig.outcome()), loss)

    def test_neither(self) -> None:
        """What the server said in the client's own era is told."""
        rig = Rig(OLD)

        rig.answers(1, ErrorObject(-5, "first"))
        rig.answers(2, ErrorObject(-6, "second"))

        self.assertEqual([Failed(1, ErrorObject(-5, "first"))], rig.events)

    def test_no_evidence(self) -> None:
        """Where the network fails in the second try, nothing is known yet: the bridge opens anew."""
        rejected = Loss(Fate.REJECTED, Reason.UPSTREAM_UNREACHABLE, "HTTP 429", 0.5)
        rig = Rig(OLD)
        rig.answers(1, UNKNOWN)

        rig.do(rig.peer.lost(2, rejected))

        self.assertEqual(([Lost(1, rejected)], None), (rig.events, rig.verdict.era))

    def test_no_shared_revision(self) -> None:
        """A server of newer revisions only is not asked in words that it has told it does not speak."""
        for version in (OLD, NEW):
            rig = Rig(version)

            rig.answers(1, unsupported("2099-01-01"))

            self.assertEqual((1, [Failed]), (len(rig.asked), rig.outcome()))

    def test_asked_again(self) -> None:
        """A refusal of which only a server of the stateless era is capable is worth another try, but one."""
        for refusal in (unsupported(NEW), ErrorObject(-32020, "header"), ErrorObject(-32021, "capability")):
            rig = Rig(NEW)

            rig.answers(1, refusal)
            rig.answers(2, DISCOVERED)

            self.assertEqual([(1, DISCOVER), (2, DISCOVER)], rig.asked)
            self.assertEqual(None, rig.verdict.era)

        rig = Rig(NEW)
        for request_id in (1, 2):
            rig.answers(request_id, ErrorObject(-32020, "header"))
        self.assertEqual("initialize", rig.asked[-1][1])

    def test_garbage(self) -> None:
        """A broken answer is no discovery."""
        rig = Rig(NEW)

        rig.do(rig.peer.receive_garbage(InvalidMessage(-32600, "?", response_id=1)))

        self.assertEqual("initialize", rig.asked[-1][1])


class VerdictTests(SynchronousTestCase):
    """What is known is not asked."""

    def test_known(self) -> None:
        """The era that was found the last time is tried first, and may have changed."""
        rig = Rig(NEW, LEGACY)

        rig.answers(1, unsupported(NEW))
        rig.answers(2, DISCOVERED)

        self.assertEqual([(1, "initialize"), (2, DISCOVER)], rig.asked)
        self.assertIsNone(rig.verdict.era)

    def test_fixed(self) -> None:
        """What the user says is not doubted."""
        rig = Rig(OLD, MODERN, fixed=True)

        rig.answers(1, UNKNOWN)

        self.assertEqual(([(1, DISCOVER)], [Failed], {}), (rig.asked, rig.outcome(), rig.timers))

    def test_exit(self) -> None:
        """A child that ends when it is asked is of the session era; the next one is not asked."""
        rig = Rig(NEW)
        rig.do(rig.peer.close(EXITED))

        self.assertEqual((LEGACY, [Lost]), (rig.verdict.era, rig.outcome()))

    def test_other_ends(self) -> None:
        """Other ends say nothing."""
        stopping = Loss(Fate.UNKNOWN, Reason.STOPPING, "stopping")
        never = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_TIMEOUT, "late")
        for loss, rig in ((stopping, Rig(NEW)), (never, Rig(NEW)), (EXITED, Rig(OLD))):
            rig.do(rig.peer.close(loss))

            self.assertEqual(None, rig.verdict.era)

    def test_refused_in_mid_conversation(self) -> None:
        """The server was replaced: what it refuses may be sent again when it is known what it speaks now."""
        for error in (unsupported("2025-11-25"), unsupported("2025-11-25", code=-32004)):
            rig = Rig(NEW)
            rig.answers(1, DISCOVERED)
            rig.do(rig.peer.send(Called(2, "tools/call", raw({"name": "t"}), False, Native())))

            rig.answers(2, error)

            lost = rig.events[-1]
            assert isinstance(lost, Lost)
            self.assertEqual((Fate.SESSION_LOST, Reason.VERSION_REFUSED), (lost.loss.fate, lost.loss.reason))
            self.assertEqual(None, rig.verdict.era)

    def test_replaced_by_one_without_sessions(self) -> None:
        """The same, if what is spoken no more is sessions."""
        rig = Rig(NEW, LEGACY)
        rig.answers(1, INITIALIZED)
        rig.do(rig.peer.send(Called(2, "tools/call", raw({"name": "t"}))))

        rig.answers(2, unsupported(NEW))

        lost = rig.events[-1]
        assert isinstance(lost, Lost)
        self.assertEqual((Fate.SESSION_LOST, Reason.VERSION_REFUSED), (lost.loss.fate, lost.loss.reason))
        self.assertEqual(None, rig.verdict.era)

    def test_fixed_in_mid_conversation(self) -> None:
        """Where the user has said what it speaks, nothing else is tried."""
        rig = Rig(OLD, LEGACY, fixed=True)
        rig.answers(1, INITIALIZED)
        rig.do(rig.peer.send(Called(2, "tools/call", raw({"name": "t"}))))

        rig.answers(2, unsupported(NEW))

        self.assertEqual((Failed, LEGACY), (rig.outcome()[-1], rig.verdict.era))

    def test_code_of_the_session_era(self) -> None:
        """There the same numbers mean what the server likes."""
        for error in (unsupported(OLD), unsupported(NEW, OLD), ErrorObject(-32022, "no")):
            rig = Rig(OLD)
            rig.answers(1, INITIALIZED)
            rig.do(rig.peer.send(Called(2, "tools/call", raw({"name": "t"}))))

            rig.answers(2, error)

            self.assertEqual(Failed, rig.outcome()[-1])


class SilenceTests(SynchronousTestCase):
    """Some servers of the session era say nothing to what they do not know, and some servers are slow."""

    def test_silent(self) -> None:
        """After a while C{initialize} is sent as well; who answers that is of the session era."""
        rig = Rig(NEW)
        timers = dict(rig.timers)

        rig.do(rig.peer.fired("silence"))
        rig.answers(2, INITIALIZED)

        self.assertEqual({"silence": SILENCE}, timers)
        self.assertEqual([(1, DISCOVER), (2, "initialize")], rig.asked)
        self.assertEqual((LEGACY, [Completed], [1]), (rig.verdict.era, rig.outcome(), rig.abandoned))

    def test_silent_until_it_ends(self) -> None:
        """One that the question has broken ends at the next message: the next child is not asked again."""
        rig = Rig(NEW)
        rig.do(rig.peer.fired("silence"))

        rig.do(rig.peer.close(EXITED))

        self.assertEqual((LEGACY, [Lost]), (rig.verdict.era, rig.outcome()))

    def test_slow(self) -> None:
        """Who answers the first question after all is of the stateless era, whatever becomes of the second."""
        rig = Rig(NEW)

        rig.do(rig.peer.fired("silence"))
        rig.answers(1, DISCOVERED)
        rig.answers(2, UNKNOWN)
        rig.do(rig.peer.send(Called(2, "tools/list", None)))

        self.assertEqual((None, [Completed]), (rig.verdict.era, rig.outcome()))
        self.assertEqual((3, "tools/list"), rig.asked[-1])
        self.assertIn("_meta", rig.params[-1])

    def test_slow_refusal(self) -> None:
        """A late refusal changes nothing."""
        rig = Rig(NEW)

        rig.do(rig.peer.fired("silence"))
        rig.answers(1, UNKNOWN)
        rig.answers(2, INITIALIZED)

        self.assertEqual((LEGACY, [Completed]), (rig.verdict.era, rig.outcome()))

    def test_silent_and_refusing(self) -> None:
        """Who answers neither as it should is told to be silent."""
        rig = Rig(NEW)

        rig.do(rig.peer.fired("silence"))
        rig.answers(2, UNKNOWN)

        (lost,) = rig.events
        assert isinstance(lost, Lost)
        self.assertEqual(Reason.UPSTREAM_TIMEOUT, lost.loss.reason)

    def test_refusing_and_silent(self) -> None:
        """The other way round, it is the refusal that is told."""
        rig = Rig(OLD)
        rig.answers(1, ErrorObject(-5, "first"))

        rig.do(rig.peer.fired("silence"))

        self.assertEqual([Failed(1, ErrorObject(-5, "first"))], rig.events)

    def test_too_late(self) -> None:
        """When it has answered, nobody is silent."""
        rig = Rig(NEW)
        rig.answers(1, DISCOVERED)

        rig.do(rig.peer.fired("silence"))

        self.assertEqual(1, len(rig.asked))
