"""
Tests for L{mcpbridge.core.bridge}: what happens, and what is done about it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.bridge import Bridge, Phase, Policy
from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.effects import (
    BridgeEffect,
    Connect,
    ConversationId,
    Drop,
    Hangup,
    Note,
    Save,
    Send,
    SessionId,
    StartTimer,
    StopTimer,
    Tell,
)
from mcpbridge.core.eras import modern
from mcpbridge.core.eras.legacy import ClientPeer
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Event,
    Failed,
    InputProgressed,
    InputRequest,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    Introduced,
    LevelSet,
    Logged,
    Notified,
    Opened,
    Progressed,
    Ready,
    RootsChanged,
    Subscribed,
    TasksWatched,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.tasks.desks import Desks

ANNOUNCING = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}, "logging": {}}}
SILENT = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "resources": {}}}
SHOWN = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}, "logging": {}}}
PARAMS = {"protocolVersion": Raw(b'"2025-11-25"'), "capabilities": Raw(b'{"roots":{}}')}

REFUSED = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "connection refused")
CRASHED = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "it crashed")
FORGOTTEN = Loss(Fate.SESSION_LOST, Reason.SESSION_LOST, "it does not know the session")
BUSY = Loss(Fate.REJECTED, Reason.UPSTREAM_UNREACHABLE, "HTTP 429", retry_after=20.0)
DENIED = Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "HTTP 401")


def raw(value: Any) -> Raw:
    """Plain Python as JSON."""
    return jsonrpc.value(value)


def tools(*names: str) -> Raw:
    """A list of tools."""
    return raw({"tools": [{"name": name} for name in names]})


class Rig:
    """
    A bridge and what became of it: everything it did, timers that run, messages sent in each conversation.

    @ivar news: what it did since that was last asked for.
    """

    def __init__(
        self, *, known: Snapshot | None = None, peer: Callable[[], IClientPeer] = ClientPeer, **policy: Any
    ) -> None:
        xids = itertools.count(1000)
        self.bridge = Bridge(
            "up",
            Opened(0, "2025-11-25", PARAMS),
            Policy(**policy),
            peer,
            xids,
            lambda: 0.0,
            Desks(xids, lambda: "handle", lambda: "now", Policy(**policy).exclusive),
        )
        if known is not None:
            self.bridge.remember(known)
        self.news: list[BridgeEffect] = []
        self.timers: dict[Hashable, float] = {}

    def do(self, effects: Sequence[BridgeEffect]) -> None:
        for effect in effects:
            match effect:
                case StartTimer(key, seconds):
                    self.timers[key] = seconds
                case StopTimer(key):
                    self.timers.pop(key, None)
                case _:
                    self.news.append(effect)

    def taken(self) -> list[BridgeEffect]:
        """Everything done since the last time, but for timers and notes."""
        news, self.news = self.news, []
        return [effect for effect in news if not isinstance(effect, Note)]

    # Clients.

    def attach(self, session: SessionId, *, xid: int | None = None, ready: bool = True) -> None:
        """A client comes and opens; its exchange is numbered by a tenfold of its session."""
        self.bridge.attach(session)
        self.deliver(session, Opened(session * 10 if xid is None else xid, "2025-11-25", PARAMS))
        if ready:
            self.deliver(session, Ready())

    def detach(self, session: SessionId) -> None:
        self.do(self.bridge.detach(session))

    def deliver(self, session: SessionId, *events: Event) -> None:
        for event in events:
            self.do(self.bridge.deliver(session, event))

    # The server.

    def connected(self, conversation: ConversationId) -> None:
        self.do(self.bridge.connected(conversation))

    def says(self, conversation: ConversationId, *messages: Message, within: RequestId | None = None) -> None:
        for message in messages:
            self.do(self.bridge.received(conversation, message, within))

    def answers(self, conversation: ConversationId, request_id: RequestId, result: Any = None) -> None:
        answer = result if isinstance(result, Raw) else raw({} if result is None else result)
        self.says(conversation, Result(request_id, answer))

    def loses(self, conversation: ConversationId, request_id: RequestId, loss: Loss) -> None:
        self.do(self.bridge.request_lost(conversation, request_id, loss))

    def ends(self, conversation: ConversationId, loss: Loss) -> None:
        self.do(self.bridge.disconnected(conversation, loss))

    def opens(self, conversation: ConversationId, opening: Any = None) -> None:
        """The connection is made, and initialize answered."""
        self.connected(conversation)
        self.answers(conversation, 1, ANNOUNCING if opening is None else opening)

    # Time.

    def fire(self, key: Hashable) -> None:
        """A timer that must be running runs out."""
        del self.timers[key]
        self.do(self.bridge.fired(key))

    def tick(self, seconds: int) -> None:
        """So many seconds, as far as ticks go."""
        for _ in range(seconds):
            if "tick" in self.timers:
                self.fire("tick")


def up(*, opening: Any = None, session: SessionId = 1, **policy: Any) -> Rig:
    """A rig with one client that has opened a server which is up; what happened until then is forgotten."""
    rig = Rig(**policy)
    rig.attach(session)
    rig.opens(1, opening)
    rig.taken()
    return rig


def sends(effects: Sequence[BridgeEffect]) -> list[tuple[ConversationId, Message]]:
    """What is said to servers."""
    return [(effect.conversation, effect.message) for effect in effects if isinstance(effect, Send)]


def methods(effects: Sequence[BridgeEffect]) -> list[tuple[ConversationId, str]]:
    """The methods of that."""
    said = sends(effects)
    return [(where, what.method) for where, what in said if isinstance(what, Request | Notification)]


def tells(effects: Sequence[BridgeEffect]) -> list[tuple[SessionId, Event]]:
    """What is said to clients."""
    return [(effect.session, effect.event) for effect in effects if isinstance(effect, Tell)]


def errors(effects: Sequence[BridgeEffect]) -> list[tuple[int, str, bool]]:
    """The exchanges that failed with errors of the bridge's own: number, reason, retryable."""
    found = []
    for _, event in tells(effects):
        if isinstance(event, Failed):
            assert event.error.data is not None
            data = jsonrpc.read(event.error.data)["mcpbridge"]
            found.append((event.xid, data["reason"], data["retryable"]))
    return found


def call(xid: int, method: str = "tools/call") -> Called:
    """A request of a client."""
    return Called(xid, method, raw({"name": f"tool{xid}"}))


def sent_call(conversation: ConversationId, request_id: int, xid: int, method: str = "tools/call") -> BridgeEffect:
    """The same as it goes to the server."""
    return Send(conversation, Request(request_id, method, raw({"name": f"tool{xid}"})))


def question(request_id: RequestId, method: str = "roots/list") -> Request:
    """A request of a server."""
    return Request(request_id, method)


class OpeningTests(SynchronousTestCase):
    """A client comes."""

    def test_first_client(self) -> None:
        """It waits for the server, which is told what the client said of itself."""
        rig = Rig()

        rig.attach(1, ready=False)
        first = rig.taken()
        rig.connected(1)
        second = rig.taken()
        rig.answers(1, 1, ANNOUNCING)

        self.assertEqual([Connect(1)], first)
        self.assertEqual([Send(1, Request(1, "initialize", jsonrpc.assemble(PARAMS)))], second)
        self.assertEqual(
            [Send(1, Notification("notifications/initialized")), Save(), Tell(1, Completed(10, raw(SHOWN)))],
            rig.taken(),
        )
        self.assertEqual((Phase.READY, None), (rig.bridge.phase, rig.bridge.last_loss))
        self.assertEqual({"stable", "tick"}, set(rig.timers))

    def test_from_memory(self) -> None:
        """Once known, the server's opening and lists are given at once, while it is still being reached."""
        rig = Rig(known=Snapshot(raw(SILENT), {"tools/list": tools("a")}))

        rig.attach(1)
        rig.deliver(1, Called(11, "tools/list", None))

        offered = {"tools": {"listChanged": True}, "resources": {"listChanged": True}}
        self.assertEqual(
            [
                Tell(1, Completed(10, raw({**SILENT, "capabilities": offered}))),
                Connect(1),
                Tell(1, Completed(11, tools("a"))),
            ],
            rig.taken(),
        )

    def test_without_snapshot(self) -> None:
        """Where the user does not want that, the server's own words are waited for, and not touched."""
        rig = Rig(known=Snapshot(raw(ANNOUNCING), {"tools/list": tools("a")}), snapshot=False)

        rig.attach(1)
        first = rig.taken()
        rig.opens(1, SILENT)
        rig.deliver(1, Called(11, "tools/list", raw({"cursor": "x"})))

        self.assertEqual([Connect(1)], first)
        effects = rig.taken()
        self.assertIn(Tell(1, Completed(10, raw(SILENT))), effects)
        self.assertEqual(Send(1, Request(3, "tools/list", raw({"cursor": "x"}))), effects[-1])

    def test_taken_over(self) -> None:
        """The next client goes on in the conversation of the one before."""
        rig = up()
        rig.detach(1)

        rig.attach(2)
        rig.deliver(2, call(21))

        self.assertEqual([Tell(2, Completed(20, raw(SHOWN))), sent_call(1, 2, 21)], rig.taken())

    def test_nobody_answers(self) -> None:
        """The opening has a deadline."""
        rig = Rig(opening_deadline=5.0)
        rig.attach(1)

        rig.tick(6)

        self.assertEqual([(10, "upstream_timeout", True)], errors(rig.taken()))
        self.assertEqual(0, rig.bridge.counts()["exchanges"])

    def test_opening_not_answered(self) -> None:
        """A server that does not answer initialize is hung up on and tried again."""
        rig = Rig()
        rig.attach(1)
        rig.connected(1)
        rig.taken()

        self.assertEqual(25.0, rig.timers["opening"])
        rig.fire("opening")
        first = rig.taken()
        rig.fire("reconnect")

        self.assertEqual([Hangup(1)], first)
        self.assertEqual([Connect(2)], rig.taken())

    def test_refused(self) -> None:
        """A server that answers initialize with an error gives the client that very error, and is not asked again."""
        rig = Rig()
        rig.attach(1)
        rig.deliver(1, call(11))
        rig.connected(1)
        rig.taken()
        fault = ErrorObject(-32000, "no licence", raw({"x": 1}))

        rig.says(1, Error(1, fault))

        self.assertEqual([Tell(1, Failed(10, fault)), Tell(1, Failed(11, fault)), Hangup(1)], rig.taken())
        self.assertEqual(Phase.IDLE, rig.bridge.phase)
        self.assertNotIn("reconnect", rig.timers)

    def test_foreign_revision(self) -> None:
        """One that speaks another revision cannot be used; the next request tries again."""
        rig = Rig()
        rig.attach(1)
        rig.connected(1)
        rig.taken()

        rig.answers(1, 1, {"protocolVersion": "2026-07-28"})
        first = rig.taken()
        rig.deliver(1, call(12))

        self.assertEqual([(10, "upstream_version_refused", True)], errors(first))
        self.assertIn(Hangup(1), first)
        self.assertEqual([Connect(2)], rig.taken())

    def test_opening_lost(self) -> None:
        """The stream of initialize breaks: another connection is tried."""
        rig = Rig()
        rig.attach(1)
        rig.connected(1)
        rig.taken()

        rig.loses(1, 1, CRASHED)

        self.assertEqual([Hangup(1)], rig.taken())
        self.assertEqual(Phase.WAITING, rig.bridge.phase)

    def test_stray_connection(self) -> None:
        """A connection that nobody waits for any more is ended."""
        rig = up()

        rig.connected(7)

        self.assertEqual([Hangup(7)], rig.taken())


class LoginTests(SynchronousTestCase):
    """A server that wants a login first: a state, not a failure."""

    def locked(self) -> Rig:
        rig = Rig()
        rig.attach(1)
        rig.connected(1)
        rig.taken()
        rig.loses(1, 1, DENIED)
        return rig

    def test_let_in(self) -> None:
        """A client that comes is let in, and finds lists that are empty so far."""
        rig = self.locked()

        opened = tells(rig.taken())
        rig.deliver(1, Called(11, "tools/list", None))

        ((_, answer),) = opened
        assert isinstance(answer, Completed)
        self.assertIn("tools", jsonrpc.read(answer.result)["capabilities"])
        self.assertEqual([(1, Completed(11, tools()))], tells(rig.taken()))

    def test_call(self) -> None:
        """A call is told at once what to do."""
        rig = self.locked()
        rig.taken()

        rig.deliver(1, call(12))
        rig.connected(2)
        rig.loses(2, 1, DENIED)

        self.assertEqual([(12, "auth_required", True)], errors(rig.taken()))

    def test_after_the_login(self) -> None:
        """After the login the same client is told that there is something now, and gets it."""
        rig = self.locked()
        rig.deliver(1, Called(11, "tools/list", None))
        rig.connected(2)
        rig.loses(2, 1, DENIED)
        rig.taken()

        rig.do(rig.bridge.wake())
        conversation = max(effect.conversation for effect in rig.taken() if isinstance(effect, Connect))
        rig.opens(conversation)
        asked = {message.method: message.id for _, message in sends(rig.taken()) if isinstance(message, Request)}
        rig.answers(conversation, asked["tools/list"], tools("a"))
        told = tells(rig.taken())
        rig.deliver(1, Called(13, "tools/list", None))

        self.assertEqual([(1, Changed("tools"))], told)
        self.assertEqual([(1, Completed(13, tools("a")))], tells(rig.taken()))

    def test_nothing_is_remembered(self) -> None:
        """What was made up meanwhile is not kept for the next time."""
        rig = self.locked()

        self.assertIsNone(rig.bridge.snapshot())

    def test_without_snapshot(self) -> None:
        """Where the user wants the server's own words only, the opening fails with the reason."""
        rig = Rig(snapshot=False)
        rig.attach(1)
        rig.connected(1)
        rig.taken()

        rig.loses(1, 1, DENIED)

        self.assertEqual([(10, "auth_required", True)], errors(rig.taken()))

    def test_nobody_to_wake(self) -> None:
        """A login that nobody waited for opens nothing."""
        rig = Rig()

        rig.do(rig.bridge.wake())

        self.assertEqual([], rig.taken())


class CallTests(SynchronousTestCase):
    """Requests and their answers."""

    def test_call(self) -> None:
        """There and back; what comes late or twice is dropped."""
        rig = up()

        rig.deliver(1, call(11))
        rig.answers(1, 2, {"content": []})
        rig.answers(1, 2, {"content": [1]})

        self.assertEqual([sent_call(1, 2, 11), Tell(1, Completed(11, raw({"content": []})))], rig.taken())
        self.assertEqual(
            {"sessions": 1, "exchanges": 0, "conversations": 1, "questions": 0, "held": 0, "tasks": 0},
            rig.bridge.counts(),
        )
        self.assertFalse(rig.bridge.busy())

    def test_error(self) -> None:
        """The server's error is passed on as it came."""
        rig = up()
        rig.deliver(1, call(11))
        fault = ErrorObject(-32602, "Unknown tool", raw([1]))
        rig.taken()

        rig.says(1, Error(2, fault))

        self.assertEqual([Tell(1, Failed(11, fault))], rig.taken())

    def test_waits_for_the_server(self) -> None:
        """What is asked before it is up is sent when it is, in order, after its opening."""
        rig = Rig()
        rig.attach(1, ready=False)

        rig.deliver(1, call(11), Notified(None, "x/y", None), LevelSet(12, "info"))
        rig.opens(1)

        self.assertEqual(
            [
                (1, "initialize"),
                (1, "notifications/initialized"),
                (1, "x/y"),
                (1, "tools/call"),
                (1, "logging/setLevel"),
            ],
            methods(rig.taken()),
        )

    def test_progress_and_logs(self) -> None:
        """They reach the client whose call they belong to."""
        rig = up()
        rig.deliver(1, Called(11, "tools/call", raw({"_meta": {"progressToken": 5}}), wants_progress=True))
        rig.taken()
        log = raw({"level": "info"})

        rig.says(1, Notification("notifications/progress", raw({"progressToken": 2, "progress": 1})))
        rig.says(1, Notification("notifications/message", log), within=2)
        rig.says(1, Notification("x/y", None), within=2)
        rig.says(1, Notification("x/z", None))
        rig.says(1, Notification("notifications/resources/updated", raw({"uri": "a"})))

        self.assertEqual(
            [
                (1, Progressed(11, {"progress": Raw(b"1")})),
                (1, Logged(11, log)),
                (1, Notified(11, "x/y", None)),
                (1, Notified(None, "x/z", None)),
                (1, Changed("resources", "a", raw({"uri": "a"}))),
            ],
            tells(rig.taken()),
        )

    def test_cancel(self) -> None:
        """The server is told; what it still says of it is dropped."""
        rig = up()
        rig.deliver(1, call(11))
        rig.taken()

        rig.deliver(1, Cancelled(11, "bored"))
        rig.answers(1, 2)
        rig.deliver(1, Cancelled(11))

        cancelled = Notification("notifications/cancelled", raw({"requestId": 2, "reason": "bored"}))
        self.assertEqual([Send(1, cancelled), Drop(1, 2)], rig.taken())
        self.assertEqual(0, rig.bridge.counts()["exchanges"])

    def test_cancel_before_it_was_sent(self) -> None:
        """It is never sent."""
        rig = Rig()
        rig.attach(1)
        rig.deliver(1, call(11), Cancelled(11))

        rig.opens(1)

        self.assertEqual([(1, "initialize"), (1, "notifications/initialized")], methods(rig.taken()))

    def test_cancel_while_held(self) -> None:
        """Its timer stops."""
        rig = up()
        rig.deliver(1, call(11))
        rig.loses(1, 2, BUSY)
        before = dict(rig.timers)

        rig.deliver(1, Cancelled(11))

        self.assertEqual(20.0, before["retry", 11])
        self.assertNotIn(("retry", 11), rig.timers)

    def test_deadline(self) -> None:
        """A call that is not answered in time is cancelled, and may have run; a read is only late."""
        rig = up(call_timeout=3.0, read_timeout=3.0)
        rig.deliver(1, call(11), call(12, "resources/read"))
        rig.taken()

        rig.tick(3)
        early = rig.taken()
        rig.tick(1)

        effects = rig.taken()
        self.assertEqual([], early)
        self.assertEqual([(1, "notifications/cancelled")] * 2, methods(effects))
        self.assertEqual([(11, "upstream_timeout", False), (12, "upstream_timeout", False)], errors(effects))
        self.assertIn("Whether tools/call took effect is not known", str(tells(effects)[0]))

    def test_too_many(self) -> None:
        """What is over the bound is turned away at once."""
        rig = up(max_open=2)

        rig.deliver(1, call(11), call(12), call(13))

        self.assertEqual([(13, "overloaded", True)], errors(rig.taken()))

    def test_no_ticking_for_nothing(self) -> None:
        """With nothing to wait for, no timer runs."""
        rig = up()
        rig.tick(1)

        rig.fire("stable")

        self.assertEqual({}, rig.timers)


class LossTests(SynchronousTestCase):
    """What becomes of requests when a server, or a part of the way to it, is lost."""

    def test_unreachable(self) -> None:
        """A request waits for a server that is down, then fails, and each try is later than the one before."""
        rig = Rig(unreachable_deadline=3.0)
        rig.attach(1)
        rig.deliver(1, call(11))
        waits = []

        for conversation in (1, 2, 3):
            rig.do(rig.bridge.connect_failed(conversation, REFUSED))
            waits.append(rig.timers["reconnect"])
            rig.fire("reconnect")
        early = errors(rig.taken())
        rig.tick(4)

        self.assertEqual([0.1, 0.2, 0.4], waits)
        self.assertEqual([], early)
        self.assertEqual([(11, "upstream_unreachable", True)], errors(rig.taken()))

    def test_unreachable_for_long(self) -> None:
        """Nobody waits for it any more, but each request has it looked up again, soon."""
        rig = up(unreachable_deadline=3.0)
        rig.ends(1, CRASHED)
        rig.fire("reconnect")
        rig.tick(5)
        for conversation in range(2, 12):
            rig.do(rig.bridge.connect_failed(conversation, REFUSED))
            rig.fire("reconnect")
        rig.do(rig.bridge.connect_failed(12, REFUSED))
        rig.taken()
        slow = rig.timers["reconnect"]

        rig.deliver(1, call(11))
        quick = rig.timers["reconnect"]
        rig.fire("reconnect")
        rig.do(rig.bridge.connect_failed(13, REFUSED))

        self.assertEqual((15.0, 0.1), (slow, quick))
        self.assertEqual([(11, "upstream_unreachable", True)], errors(rig.taken()))

    def test_up_again(self) -> None:
        """A server that came back is waited for again as if it had never been away."""
        rig = up(unreachable_deadline=3.0)
        rig.ends(1, CRASHED)
        rig.tick(30)
        rig.fire("reconnect")
        rig.opens(2)

        rig.ends(2, CRASHED)
        rig.deliver(1, call(11))
        rig.fire("reconnect")
        rig.do(rig.bridge.connect_failed(3, REFUSED))

        self.assertEqual([], errors(rig.taken()))

    def test_told_to_come_back(self) -> None:
        """A server that says when is not asked before, and whoever waits is patient until then; but not for ever."""
        rig = Rig(unreachable_deadline=3.0, opening_deadline=100.0)
        rig.attach(1)
        rig.deliver(1, call(11))
        waits = []

        for conversation in (1, 2, 3):
            rig.do(rig.bridge.connect_failed(conversation, BUSY))
            rig.tick(20)
            rig.deliver(1, Notified(None, "x/y", None))
            waits.append(rig.timers["reconnect"])
            rig.fire("reconnect")
        early = errors(rig.taken())
        rig.do(rig.bridge.connect_failed(4, BUSY))
        rig.tick(5)

        self.assertEqual([20.0] * 3, waits)
        self.assertEqual([], early)
        self.assertEqual([(11, "upstream_unreachable", True)], errors(rig.taken()))

    def test_hopeless(self) -> None:
        """Where trying again would not help, requests fail at once and nothing is tried unasked."""
        rig = Rig(snapshot=False)
        rig.attach(1)
        rig.taken()

        rig.do(rig.bridge.connect_failed(1, DENIED))

        self.assertEqual([(10, "auth_required", True)], errors(rig.taken()))
        self.assertEqual(Phase.IDLE, rig.bridge.phase)
        self.assertNotIn("reconnect", rig.timers)

    def test_crash(self) -> None:
        """A call that may have run fails and is not sent again; a read is, once; the server is reached at once."""
        rig = up()
        rig.deliver(1, call(11), call(12, "resources/read"), call(13, "x/unknown"))
        rig.taken()

        rig.ends(1, CRASHED)
        first = rig.taken()
        waits = {key: rig.timers[key] for key in ("reconnect", ("retry", 12))}
        rig.fire("reconnect")
        rig.opens(2)
        rig.taken()
        rig.fire(("retry", 12))
        second = rig.taken()
        rig.ends(2, CRASHED)

        unknown = "upstream_lost_outcome_unknown"
        self.assertEqual([(11, unknown, False), (13, unknown, False)], errors(first))
        self.assertEqual({"reconnect": 0.0, ("retry", 12): 0.1}, waits)
        self.assertEqual([sent_call(2, 2, 12, "resources/read")], second)
        self.assertEqual([(12, "upstream_unreachable", True)], errors(rig.taken()))

    def test_read_waits_for_a_slow_restart(self) -> None:
        """A read that was under way for long when the server crashed has its full patience for the next one."""
        rig = up(read_timeout=120.0)
        rig.deliver(1, call(11, "resources/read"))
        rig.tick(60)

        rig.ends(1, CRASHED)
        rig.fire(("retry", 11))
        rig.fire("reconnect")
        rig.tick(5)
        early = errors(rig.taken())
        rig.opens(2)

        self.assertEqual([], early)
        self.assertIn(sent_call(2, 2, 11, "resources/read"), rig.taken())

    def test_crash_loop(self) -> None:
        """A server that crashes as soon as it is up is started more and more slowly, until it stays up."""
        rig = up()
        waits = []

        for conversation in range(1, 6):
            rig.ends(conversation, CRASHED)
            waits.append(rig.timers["reconnect"])
            rig.fire("reconnect")
            rig.opens(conversation + 1)
        rig.fire("stable")
        rig.ends(6, CRASHED)

        self.assertEqual([0.0, 0.1, 0.2, 0.4, 0.8], waits)
        self.assertEqual(0.0, rig.timers["reconnect"])

    def test_back_from_far_away(self) -> None:
        """How long it was away says nothing of how soon it is tried again when it is lost the next time."""
        rig = up()
        rig.ends(1, CRASHED)
        for conversation in range(2, 12):
            rig.fire("reconnect")
            rig.do(rig.bridge.connect_failed(conversation, REFUSED))
        rig.fire("reconnect")
        rig.opens(12)

        rig.ends(12, CRASHED)

        self.assertEqual(0.1, rig.timers["reconnect"])

    def test_session_lost(self) -> None:
        """All calls under way are sent again, once each, in a new conversation; the old one ends."""
        rig = up()
        rig.deliver(1, *(call(xid) for xid in (11, 12, 13)))
        rig.taken()

        for request_id in (2, 3, 4):
            rig.loses(1, request_id, FORGOTTEN)
        first = rig.taken()
        rig.opens(2)

        self.assertEqual([Connect(2), Hangup(1)], first)
        calls = [effect for effect in rig.taken() if isinstance(effect, Send)][2:]
        self.assertEqual([sent_call(2, 2, 11), sent_call(2, 3, 12), sent_call(2, 4, 13)], calls)
        self.assertEqual(1, rig.bridge.counts()["conversations"])

    def test_retired(self) -> None:
        """What a server still answers in a conversation that it has forgotten is taken; the rest is lost later."""
        rig = up()
        rig.deliver(1, call(11), call(12), call(13))
        rig.loses(1, 2, FORGOTTEN)
        rig.opens(2)
        rig.taken()

        rig.answers(1, 3)
        first = rig.taken()
        self.assertEqual(5.0, rig.timers["retire", 1])
        rig.fire(("retire", 1))

        effects = rig.taken()
        self.assertEqual([Tell(1, Completed(12, Raw(b"{}")))], first)
        self.assertEqual([(13, "upstream_lost_outcome_unknown", False)], errors(effects))
        self.assertEqual(Hangup(1), effects[0])
        self.assertEqual(Phase.READY, rig.bridge.phase)

    def test_every_session_lost(self) -> None:
        """A server that forgets each session at once is not asked without end, nor without a pause."""
        rig = up()
        rig.deliver(1, call(11))
        rig.taken()
        waits = []

        for conversation in range(1, 5):
            rig.loses(conversation, 2, FORGOTTEN)
            if rig.bridge.phase is Phase.WAITING:
                waits.append(rig.timers["reconnect"])
                rig.fire("reconnect")
            rig.opens(conversation + 1)

        self.assertEqual([0.1, 0.2, 0.4], waits)
        self.assertEqual([(11, "session_lost", True)], errors(rig.taken()))

    def test_wishes_of_a_server_that_forgets(self) -> None:
        """Our own requests are no reason to open one session after the other without a pause."""
        rig = up()
        rig.deliver(1, LevelSet(11, "info"))
        rig.answers(1, 2)

        rig.deliver(1, call(12))
        rig.loses(1, 3, FORGOTTEN)
        rig.opens(2)
        rig.loses(2, 2, FORGOTTEN)

        self.assertEqual(Phase.WAITING, rig.bridge.phase)

    def test_session_lost_by_the_connection(self) -> None:
        """Where it is the whole connection that learns of it, what was under way may have run."""
        rig = up()
        rig.deliver(1, call(11), call(12, "resources/read"))
        rig.taken()

        rig.ends(1, FORGOTTEN)

        self.assertEqual([(11, "upstream_lost_outcome_unknown", False)], errors(rig.taken()))
        self.assertEqual({"reconnect": 0.0, ("retry", 12): 0.1, "tick": 1.0}, rig.timers)

    def test_rejected(self) -> None:
        """A server that is busy is asked again when it said, and no other time; four times in all."""
        rig = up(unreachable_deadline=3.0)
        rig.deliver(1, call(11))
        waits = []

        for request_id in (2, 3, 4):
            rig.loses(1, request_id, BUSY)
            waits.append(rig.timers["retry", 11])
            rig.tick(20)
            rig.fire(("retry", 11))
        rig.loses(1, 5, BUSY)

        self.assertEqual([20.0] * 3, waits)
        effects = rig.taken()
        self.assertEqual([(1, "tools/call")] * 4, methods(effects))
        self.assertEqual([(11, "upstream_unreachable", True)], errors(effects))

    def test_restart_behind_http(self) -> None:
        """First it cannot be reached, again and again, then it knows no session: the call is sent all the same."""
        rig = up()
        rig.deliver(1, call(11))
        for request_id in range(2, 8):
            rig.loses(1, request_id, REFUSED)
            rig.fire(("retry", 11))

        rig.loses(1, 8, FORGOTTEN)
        rig.opens(2)

        effects = rig.taken()
        self.assertEqual([], errors(effects))
        self.assertEqual(sent_call(2, 2, 11), effects[-1])

    def test_refused_after_a_long_wait(self) -> None:
        """A request that waited because it was told to has its patience from then on."""
        rig = up(unreachable_deadline=3.0)
        rig.deliver(1, call(11))
        rig.loses(1, 2, BUSY)
        rig.tick(20)
        rig.fire(("retry", 11))

        rig.loses(1, 3, REFUSED)

        self.assertEqual([], errors(rig.taken()))
        self.assertEqual(0.1, rig.timers["retry", 11])

    def test_denied(self) -> None:
        """What a server will not let us do fails at once."""
        rig = up()
        rig.deliver(1, call(11))

        rig.loses(1, 2, DENIED)

        self.assertEqual([(11, "auth_required", True)], errors(rig.taken()))

    def test_never_sent(self) -> None:
        """A call that never left may be sent again until its patience is over, not longer."""
        rig = up(unreachable_deadline=3.0)
        rig.deliver(1, call(11))

        for request_id in (2, 3, 4):
            rig.loses(1, request_id, REFUSED)
            rig.tick(1)
            rig.fire(("retry", 11))
        early = errors(rig.taken())
        rig.tick(1)
        rig.loses(1, 5, REFUSED)

        self.assertEqual([], early)
        self.assertEqual([(11, "upstream_unreachable", True)], errors(rig.taken()))

    def test_malformed(self) -> None:
        """A broken answer is an answer."""
        rig = up()
        rig.deliver(1, call(11), call(12))
        invalid = InvalidMessage(-32600, "broken", response_id=3)

        rig.answers(1, 2, raw([]))
        rig.do(rig.bridge.received_garbage(1, invalid))

        self.assertEqual([(11, "upstream_malformed", False), (12, "upstream_malformed", False)], errors(rig.taken()))

    def test_after_the_end(self) -> None:
        """What a conversation says that is over is not heard."""
        rig = up()
        rig.ends(1, CRASHED)
        rig.taken()

        rig.says(1, question(1))
        rig.do(rig.bridge.received_garbage(1, InvalidMessage(-32700, "x")))
        rig.loses(1, 1, CRASHED)
        rig.ends(1, CRASHED)

        self.assertEqual([], rig.taken())

    def test_nobody_left(self) -> None:
        """Without a client and with nothing to do, a server that is away is left alone."""
        rig = up()
        rig.ends(1, CRASHED)

        rig.detach(1)

        self.assertEqual(Phase.IDLE, rig.bridge.phase)
        self.assertNotIn("reconnect", rig.timers)

    def test_nobody_there(self) -> None:
        """The same when nobody was there in the first place."""
        rig = up()
        rig.detach(1)

        rig.ends(1, CRASHED)

        self.assertEqual(Phase.IDLE, rig.bridge.phase)


class ListTests(SynchronousTestCase):
    """The lists of a server."""

    def listed(self, *names: str, opening: Any = None, **policy: Any) -> Rig:
        """A rig whose client has been given these tools."""
        rig = up(opening=opening, **policy)
        rig.deliver(1, Called(11, "tools/list", None))
        rig.answers(1, 2, tools(*names))
        rig.taken()
        return rig

    def test_fetched(self) -> None:
        """A list that is not known is fetched, all its pages, and given whole."""
        rig = up()

        rig.deliver(1, Called(11, "tools/list", raw({"cursor": None})))
        rig.deliver(1, Called(12, "tools/list", None))
        rig.answers(1, 2, {"tools": [1], "nextCursor": "c", "x": 1})
        rig.answers(1, 3, {"tools": [2]})

        merged = raw({"tools": [1, 2], "x": 1})
        self.assertEqual(
            [
                Send(1, Request(2, "tools/list")),
                Send(1, Request(3, "tools/list", raw({"cursor": "c"}))),
                Tell(1, Completed(11, merged)),
                Tell(1, Completed(12, merged)),
                Save(),
            ],
            rig.taken(),
        )

    def test_trusted(self) -> None:
        """Nothing has happened since: it is given from memory."""
        rig = self.listed("a")

        rig.deliver(1, Called(12, "tools/list", raw({})))

        self.assertEqual([Tell(1, Completed(12, tools("a")))], rig.taken())
        self.assertNotIn("revalidate", rig.timers)

    def test_cursors(self) -> None:
        """There are none: a list is given whole."""
        rig = self.listed("a")

        rig.deliver(1, Called(12, "tools/list", raw({"cursor": "x"})))

        (effect,) = rig.taken()
        assert isinstance(effect, Tell)
        assert isinstance(effect.event, Failed)
        self.assertEqual(-32602, effect.event.error.code)

    def test_doubtful(self) -> None:
        """A new conversation may have new lists: they are looked up, and the client is told if they are."""
        rig = self.listed("a")
        rig.ends(1, CRASHED)
        rig.fire("reconnect")

        rig.opens(2)
        first = rig.taken()
        rig.answers(2, 2, tools("a", "b"))

        self.assertEqual(Send(2, Request(2, "tools/list")), first[-1])
        self.assertEqual([Save(), Tell(1, Changed("tools"))], rig.taken())

    def test_unchanged(self) -> None:
        """Where nothing is new, nobody is told."""
        rig = self.listed("a")
        rig.ends(1, CRASHED)
        rig.fire("reconnect")
        rig.opens(2)
        rig.taken()

        rig.answers(2, 2, tools("a"))

        self.assertEqual([], rig.taken())

    def test_served_untrusted(self) -> None:
        """A list from an earlier life is given at once and looked up a little later."""
        rig = Rig(known=Snapshot(raw(ANNOUNCING), {"tools/list": tools("old")}))
        rig.attach(1)
        rig.opens(1)
        rig.deliver(1, Called(11, "tools/list", None))

        rig.answers(1, 2, tools("new"))

        self.assertIn(Tell(1, Completed(11, tools("old"))), rig.news)
        self.assertEqual([Save(), Tell(1, Changed("tools"))], rig.taken()[-2:])

    def test_announced(self) -> None:
        """After the server says so, the list is fetched anew when the client asks."""
        rig = self.listed("a")

        rig.says(1, Notification("notifications/tools/list_changed"))
        rig.deliver(1, Called(12, "tools/list", None))
        rig.answers(1, 3, tools("b"))
        rig.deliver(1, Called(13, "tools/list", None))

        self.assertEqual(
            [
                Tell(1, Changed("tools")),
                Send(1, Request(3, "tools/list")),
                Tell(1, Completed(12, tools("b"))),
                Save(),
                Tell(1, Completed(13, tools("b"))),
            ],
            rig.taken(),
        )

    def test_announced_while_it_is_fetched(self) -> None:
        """What comes then may be the old one: the client that waits is given the new one."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None))
        rig.says(1, Notification("notifications/tools/list_changed"))
        rig.answers(1, 2, tools("old"))
        first = rig.taken()

        rig.answers(1, 3, tools("new"))
        rig.deliver(1, Called(12, "tools/list", None))

        self.assertEqual(
            [Send(1, Request(2, "tools/list")), Tell(1, Changed("tools")), Send(1, Request(3, "tools/list")), Save()],
            first,
        )
        self.assertEqual([(1, Completed(11, tools("new"))), (1, Completed(12, tools("new")))], tells(rig.taken())[-2:])

    def test_announced_without_end(self) -> None:
        """A server that announces a change with every answer is not waited for a third time."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None))
        for request_id in (2, 3):
            rig.says(1, Notification("notifications/tools/list_changed"))
            rig.answers(1, request_id, tools(str(request_id)))

        self.assertEqual((1, Completed(11, tools("3"))), tells(rig.taken())[-1])
        self.assertEqual(1.0, rig.timers["revalidate"])

    def test_announced_to_nobody(self) -> None:
        """Without a client it is fetched for the next one, but not faster than the clock."""
        rig = self.listed("a")
        rig.detach(1)
        rig.says(1, Notification("notifications/tools/list_changed"))
        first = rig.taken()

        rig.fire("revalidate")

        self.assertEqual([], first)
        self.assertEqual([Send(1, Request(3, "tools/list"))], rig.taken())

    def test_not_yet_ready(self) -> None:
        """A client that has not finished its opening has seen no list that could change."""
        rig = self.listed("a")
        rig.detach(1)
        rig.attach(2, ready=False)
        rig.taken()

        rig.says(1, Notification("notifications/tools/list_changed"))

        self.assertEqual([], rig.taken())

    def test_changed_by_a_call(self) -> None:
        """Where the server does not announce changes, a call may have made one."""
        rig = self.listed("a", opening=SILENT)

        rig.deliver(1, call(12))
        rig.answers(1, 3)
        rig.deliver(1, Called(13, "tools/list", None))

        self.assertEqual(Send(1, Request(4, "tools/list")), rig.taken()[-1])

    def test_not_changed_by_a_call(self) -> None:
        """Where it does, a call is no reason for doubt; nor is a read anywhere."""
        announced = self.listed("a")
        silent = self.listed("a", opening=SILENT)

        announced.deliver(1, call(12))
        announced.answers(1, 3)
        silent.deliver(1, call(12, "resources/read"))
        silent.answers(1, 3)

        for rig in (announced, silent):
            rig.deliver(1, Called(13, "tools/list", None))
            self.assertEqual(Tell(1, Completed(13, tools("a"))), rig.taken()[-1])

    def test_failed(self) -> None:
        """The server's error is the client's; the next time it is asked again."""
        rig = up()
        fault = ErrorObject(-32601, "no tools")
        rig.deliver(1, Called(11, "tools/list", None))

        rig.says(1, Error(2, fault))
        rig.deliver(1, Called(12, "tools/list", None))

        self.assertEqual(
            [Send(1, Request(2, "tools/list")), Tell(1, Failed(11, fault)), Send(1, Request(3, "tools/list"))],
            rig.taken(),
        )

    def test_fallback(self) -> None:
        """A list that cannot be had is given as it was last known."""
        rig = self.listed("a")
        rig.says(1, Notification("notifications/tools/list_changed"))
        rig.deliver(1, Called(12, "tools/list", None))
        rig.taken()

        rig.says(1, Error(3, ErrorObject(-32000, "database down")))

        self.assertEqual([Tell(1, Completed(12, tools("a")))], rig.taken())

    def test_broken(self) -> None:
        """What is no list fails whoever waits."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None))

        rig.answers(1, 2, {"tools": {}})

        self.assertEqual([(11, "upstream_malformed", True)], errors(rig.taken()))
        self.assertEqual(0, rig.bridge.counts()["exchanges"])

    def test_cancelled(self) -> None:
        """The client waits no more; the list is fetched to the end for the next one."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None), Cancelled(11))
        rig.taken()

        rig.answers(1, 2, tools("a"))

        self.assertEqual([Save()], rig.taken())

    def test_bad_params(self) -> None:
        """Params that are no object are the client's fault."""
        rig = up()

        rig.deliver(1, Called(11, "tools/list", Raw(b"[]")))

        self.assertIsInstance(tells(rig.taken())[0][1], Failed)


class WishTests(SynchronousTestCase):
    """Log levels and subscriptions."""

    def test_restored(self) -> None:
        """A new conversation is told of them, and the client that it may have missed something."""
        rig = up()
        rig.deliver(1, LevelSet(11, "error"), Subscribed(12, "a", raw({"uri": "a"})), Subscribed(13, "b", None))
        for request_id in (2, 3, 4):
            rig.answers(1, request_id)
        rig.deliver(1, Unsubscribed(14, "b", None))
        rig.answers(1, 5)
        rig.ends(1, CRASHED)
        rig.fire("reconnect")
        rig.taken()

        rig.opens(2)

        effects = rig.taken()
        self.assertEqual(
            [
                (2, Request(2, "logging/setLevel", raw({"level": "error"}))),
                (2, Request(3, "resources/subscribe", raw({"uri": "a"}))),
            ],
            sends(effects)[2:],
        )
        self.assertEqual([(1, Changed("resources", "a"))], tells(effects))

    def test_standing(self) -> None:
        """Wishes from an earlier life of the daemon are kept, however long the server is away."""
        rig = Rig(known=Snapshot(raw(ANNOUNCING), {}), unreachable_deadline=3.0)
        rig.attach(1)
        rig.deliver(1, LevelSet(11, "error", standing=True), Subscribed(12, "a", raw({"uri": "a"}), standing=True))
        rig.tick(30)
        for conversation in range(1, 9):
            rig.do(rig.bridge.connect_failed(conversation, REFUSED))
            rig.fire("reconnect")
        rig.taken()

        rig.opens(9)

        effects = rig.taken()
        self.assertEqual([(9, "logging/setLevel"), (9, "resources/subscribe")], methods(effects)[-2:])
        self.assertEqual([(1, Changed("resources", "a"))], tells(effects))

    def test_standing_on_a_server_that_is_up(self) -> None:
        """It is told at once."""
        rig = up()

        rig.deliver(1, LevelSet(11, "error", standing=True), Subscribed(12, "a", raw({"uri": "a"}), standing=True))

        self.assertEqual([(1, "logging/setLevel"), (1, "resources/subscribe")], methods(rig.taken()))

    def test_undone(self) -> None:
        """The next client finds neither the subscriptions nor the log level of the one before."""
        rig = up()
        rig.deliver(1, LevelSet(11, "debug"), Subscribed(12, "a", None), Subscribed(13, "b", None))
        for request_id in (2, 3):
            rig.answers(1, request_id)
        rig.taken()

        rig.detach(1)

        self.assertEqual(
            [
                (1, Notification("notifications/cancelled", raw({"requestId": 4, "reason": "the client is gone"}))),
                (1, Request(5, "resources/unsubscribe", raw({"uri": "a"}))),
                (1, Request(6, "resources/unsubscribe", raw({"uri": "b"}))),
                (1, Request(7, "logging/setLevel", raw({"level": "info"}))),
            ],
            sends(rig.taken()),
        )

    def test_calls_of_a_client_that_is_gone(self) -> None:
        """They are cancelled."""
        rig = up()
        rig.deliver(1, call(11))
        rig.taken()

        rig.detach(1)

        gone = Notification("notifications/cancelled", raw({"requestId": 2, "reason": "the client is gone"}))
        self.assertEqual([Send(1, gone), Drop(1, 2)], rig.taken())
        self.assertEqual(0, rig.bridge.counts()["exchanges"])

    def test_notifications_of_a_client_that_is_gone(self) -> None:
        """What still waits for the server is forgotten."""
        rig = Rig()
        rig.attach(1)
        rig.deliver(1, Notified(None, "x/y", None))
        held = rig.bridge.counts()["held"]

        rig.detach(1)

        self.assertEqual((1, 0), (held, rig.bridge.counts()["held"]))

    def test_too_many_notifications(self) -> None:
        """Not more than a few wait for a server."""
        rig = Rig()
        rig.attach(1)

        rig.deliver(1, *[Notified(None, "x/y", None)] * 70)

        self.assertEqual(64, rig.bridge.counts()["held"])
        self.assertEqual(6, sum(isinstance(effect, Note) for effect in rig.news))

    def test_roots(self) -> None:
        """Changed roots are told at once; a server that is not up asks by itself when it is."""
        rig = Rig()
        rig.attach(1)
        rig.deliver(1, RootsChanged(None))
        rig.opens(1)
        rig.taken()

        rig.deliver(1, RootsChanged(None))

        self.assertEqual([Send(1, Notification("notifications/roots/list_changed"))], rig.taken())

    def test_detach_twice(self) -> None:
        """The second time there is nothing to do."""
        rig = up()
        rig.detach(1)
        rig.taken()

        rig.detach(1)

        self.assertEqual([], rig.taken())


class QuestionTests(SynchronousTestCase):
    """What a server asks."""

    def test_asked_and_answered(self) -> None:
        """The client of the exchange is asked, or the only one there is; the answer goes back where it was asked."""
        rig = up()
        rig.deliver(1, call(11))
        rig.taken()

        rig.says(1, question(5, "elicitation/create"), within=2)
        rig.says(1, question(6))
        asked = rig.taken()
        rig.deliver(1, InputSupplied(11, {"1.q1": Raw(b'{"action":"accept"}')}))
        rig.deliver(1, InputProgressed("1.q2", {"progress": Raw(b"1")}))
        rig.deliver(1, InputSupplied(None, {"1.q2": ErrorObject(1, "no")}), InputSupplied(None, {"1.q2": Raw(b"{}")}))

        self.assertEqual(
            [
                Tell(1, InputRequired(11, {"1.q1": InputRequest("elicitation/create", None)})),
                Tell(1, InputRequired(None, {"1.q2": InputRequest("roots/list", None)})),
            ],
            asked,
        )
        self.assertEqual(
            [Send(1, Result(5, Raw(b'{"action":"accept"}')), 5), Send(1, Error(6, ErrorObject(1, "no")), 6)],
            rig.taken(),
        )
        self.assertEqual(0, rig.bridge.counts()["questions"])

    def test_held_until_ready(self) -> None:
        """A client may be asked when it has seen the answer to its opening, not before."""
        rig = Rig()
        rig.attach(1, ready=False)
        rig.opens(1)
        rig.taken()

        rig.says(1, question(5))
        first = rig.taken()
        rig.deliver(1, Ready())

        self.assertEqual([], first)
        self.assertEqual([Tell(1, InputRequired(None, {"1.q1": InputRequest("roots/list", None)}))], rig.taken())

    def test_ready_by_its_first_request(self) -> None:
        """One that asks something is ready, whatever it forgot to say."""
        rig = Rig()
        rig.attach(1, ready=False)
        rig.opens(1)
        rig.says(1, question(5))
        rig.taken()

        rig.deliver(1, call(11))

        asked = InputRequired(None, {"1.q1": InputRequest("roots/list", None)})
        self.assertEqual([Tell(1, asked), sent_call(1, 2, 11)], rig.taken())

    def test_too_many_held(self) -> None:
        """Over a bound they are refused."""
        rig = Rig()
        rig.attach(1, ready=False)
        rig.opens(1)
        rig.taken()

        rig.says(1, *(question(number) for number in range(70)))

        refused = [message.id for _, message in sends(rig.taken()) if isinstance(message, Error)]
        self.assertEqual(list(range(64, 70)), refused)

    def test_nobody_there(self) -> None:
        """Without a client it is refused; the next one's roots are announced."""
        rig = up()
        rig.detach(1)
        rig.taken()

        rig.says(1, question(5))
        first = rig.taken()
        rig.attach(2)

        (refused,) = sends(first)
        assert isinstance(refused[1], Error)
        self.assertEqual(5, refused[1].id)
        self.assertEqual(Send(1, Notification("notifications/roots/list_changed")), rig.taken()[-1])

    def test_client_gone(self) -> None:
        """What it was asked, and what it would have been, is refused."""
        rig = up()
        rig.says(1, question(5))
        rig.taken()

        rig.detach(1)

        self.assertEqual([5], [message.id for _, message in sends(rig.taken()) if isinstance(message, Error)])
        self.assertEqual(0, rig.bridge.counts()["questions"])

    def test_client_gone_before_it_was_ready(self) -> None:
        """The same for what was held."""
        rig = Rig()
        rig.attach(1, ready=False)
        rig.opens(1)
        rig.says(1, question(5))
        rig.taken()

        rig.detach(1)

        self.assertEqual([5], [message.id for _, message in sends(rig.taken()) if isinstance(message, Error)])
        self.assertEqual(0, rig.bridge.counts()["questions"])

    def test_withdrawn(self) -> None:
        """The client is told; a question that was held is never asked."""
        rig = up()
        rig.says(1, question(5), Notification("notifications/cancelled", raw({"requestId": 5, "reason": "r"})))
        told = rig.taken()
        rig.detach(1)
        rig.attach(2, ready=False)
        rig.says(1, question(6), Notification("notifications/cancelled", raw({"requestId": 6})))
        rig.taken()

        rig.deliver(2, Ready())

        self.assertEqual(Tell(1, InputWithdrawn("1.q1", "r")), told[-1])
        self.assertEqual([], [event for _, event in tells(rig.taken()) if isinstance(event, InputRequired)])

    def test_server_gone(self) -> None:
        """Its questions are withdrawn, once."""
        rig = up()
        rig.says(1, question(5))
        rig.taken()

        rig.ends(1, CRASHED)

        self.assertEqual([Tell(1, InputWithdrawn("1.q1", "the connection to the server was lost"))], rig.taken())
        self.assertEqual(0, rig.bridge.counts()["questions"])

    def test_question_of_a_call_that_is_over(self) -> None:
        """The next client is not asked what was meant for the one before."""
        rig = up()
        rig.deliver(1, call(11))
        rig.detach(1)
        rig.attach(2)
        rig.taken()

        rig.says(1, question(5, "elicitation/create"), within=2)

        (refused,) = sends(rig.taken())
        self.assertIsInstance(refused[1], Error)


class SharedTests(SynchronousTestCase):
    """One conversation for several clients."""

    def shared(self, *sessions: SessionId) -> Rig:
        """A rig that serves these clients at once."""
        rig = up(exclusive=False, session=sessions[0])
        for session in sessions[1:]:
            rig.attach(session)
        rig.taken()
        return rig

    def test_calls(self) -> None:
        """Each gets its own answers."""
        rig = self.shared(1, 2)

        rig.deliver(1, call(11))
        rig.deliver(2, call(21))
        rig.answers(1, 3, {"for": 2})
        rig.answers(1, 2, {"for": 1})

        self.assertEqual([(2, Completed(21, raw({"for": 2}))), (1, Completed(11, raw({"for": 1})))], tells(rig.taken()))

    def test_own_opening(self) -> None:
        """The server is shown one face, whoever comes."""
        rig = Rig(exclusive=False)
        rig.bridge.attach(1)
        rig.deliver(1, Opened(10, "2024-11-05", {"secret": Raw(b"1")}))

        rig.connected(1)

        self.assertEqual([(1, Request(1, "initialize", jsonrpc.assemble(PARAMS)))], sends(rig.taken()))

    def test_levels(self) -> None:
        """The server sends what the most curious wants; each hears what it wants."""
        rig = self.shared(1, 2)
        rig.deliver(1, LevelSet(11, "debug"))
        rig.answers(1, 2)
        rig.deliver(2, LevelSet(21, "error"))
        rig.answers(1, 3)

        rig.says(1, Notification("notifications/message", raw({"level": "info"})))
        rig.says(1, Notification("notifications/message", raw({"level": "critical"})))
        rig.says(1, Notification("notifications/message", Raw(b"[]")))
        rig.detach(1)

        effects = rig.taken()
        levels = [message.params for _, message in sends(effects) if isinstance(message, Request)]
        self.assertEqual([raw({"level": level}) for level in ("debug", "debug", "error")], levels)
        info, critical = Logged(None, raw({"level": "info"})), Logged(None, raw({"level": "critical"}))
        self.assertEqual(
            [(1, info), (1, critical), (2, critical)],
            [told for told in tells(effects) if isinstance(told[1], Logged)],
        )

    def test_levels_under_way(self) -> None:
        """One that has been asked for, but not answered yet, counts as well."""
        rig = self.shared(1, 2)

        rig.deliver(1, LevelSet(11, "debug"))
        rig.deliver(2, LevelSet(21, "error"))

        levels = [message.params for _, message in sends(rig.taken()) if isinstance(message, Request)]
        self.assertEqual([raw({"level": "debug"})] * 2, levels)

    def test_logs_of_a_call(self) -> None:
        """They go to whoever called."""
        rig = self.shared(1, 2)
        rig.deliver(2, call(21))
        rig.taken()

        rig.says(1, Notification("notifications/message", raw({"level": "debug"})), within=2)

        self.assertEqual([(2, Logged(21, raw({"level": "debug"})))], tells(rig.taken()))

    def test_subscriptions(self) -> None:
        """They are counted: the server hears of the first and of the last."""
        rig = self.shared(1, 2)

        rig.deliver(1, Subscribed(11, "a", None))
        rig.answers(1, 2)
        rig.deliver(2, Subscribed(21, "a", None))
        rig.deliver(1, Unsubscribed(12, "a", None))
        rig.says(1, Notification("notifications/resources/updated", raw({"uri": "a/b"})))
        rig.says(1, Notification("notifications/resources/updated", raw({"uri": "ab"})))
        rig.deliver(2, Unsubscribed(22, "a", None))
        rig.answers(1, 3)

        effects = rig.taken()
        self.assertEqual([(1, "resources/subscribe"), (1, "resources/unsubscribe")], methods(effects))
        self.assertEqual(
            [
                (1, Completed(11, Raw(b"{}"))),
                (2, Completed(21, Raw(b"{}"))),
                (1, Completed(12, Raw(b"{}"))),
                (2, Changed("resources", "a/b", raw({"uri": "a/b"}))),
                (2, Completed(22, Raw(b"{}"))),
            ],
            tells(effects),
        )

    def test_subscribe_while_another_unsubscribes(self) -> None:
        """The server is asked again: what is on its way undoes what was."""
        rig = self.shared(1, 2)
        rig.deliver(1, Subscribed(11, "a", None))
        rig.answers(1, 2)
        rig.taken()

        rig.deliver(1, Unsubscribed(12, "a", None))
        rig.deliver(2, Subscribed(21, "a", None))

        self.assertEqual([(1, "resources/unsubscribe"), (1, "resources/subscribe")], methods(rig.taken()))

    def test_unsubscribe_while_another_subscribes(self) -> None:
        """The server is not asked: it would undo what is on its way."""
        rig = self.shared(1, 2)
        rig.deliver(1, Subscribed(11, "a", None))
        rig.deliver(2, Subscribed(21, "a", None))
        rig.answers(1, 2)
        rig.taken()

        rig.deliver(1, Unsubscribed(12, "a", None))

        self.assertEqual([Tell(1, Completed(12, Raw(b"{}")))], rig.taken())

    def test_subscribe_while_an_unsubscribe_waits(self) -> None:
        """One that the server has put off is not sent after a subscribe that it would undo; it is answered."""
        rig = self.shared(1, 2)
        rig.deliver(1, Subscribed(11, "a", None))
        rig.answers(1, 2)
        rig.deliver(1, Unsubscribed(12, "a", None))
        rig.loses(1, 3, BUSY)
        rig.deliver(2, Subscribed(21, "a", None))
        rig.answers(1, 4)
        rig.taken()

        rig.fire(("retry", 12))

        self.assertEqual([Tell(1, Completed(12, Raw(b"{}")))], rig.taken())

    def test_subscribed_by_one_that_leaves(self) -> None:
        """What it had only asked for is undone too, unless another wants it."""
        rig = self.shared(1, 2)
        rig.deliver(1, Subscribed(11, "a", None), Subscribed(12, "b", None))
        rig.deliver(2, Subscribed(21, "b", None))
        rig.taken()

        rig.detach(1)

        undone = [message.params for _, message in sends(rig.taken()) if isinstance(message, Request)]
        self.assertEqual([raw({"uri": "a"})], undone)

    def test_questions(self) -> None:
        """A question within a call goes to its client; one of nobody's is refused."""
        rig = self.shared(1, 2)
        rig.deliver(2, call(21))
        rig.taken()

        rig.says(1, question(5), within=2)
        rig.says(1, question(6))

        effects = rig.taken()
        self.assertEqual([(2, InputRequired(21, {"1.q1": InputRequest("roots/list", None)}))], tells(effects))
        self.assertEqual([6], [message.id for _, message in sends(effects) if isinstance(message, Error)])

    def test_changes(self) -> None:
        """All are told, and all notifications of nobody's go to all."""
        rig = self.shared(1, 2)

        rig.says(1, Notification("notifications/tools/list_changed"), Notification("x/y"))

        told = tells(rig.taken())
        self.assertEqual(
            [
                (1, Changed("tools")),
                (2, Changed("tools")),
                (1, Notified(None, "x/y", None)),
                (2, Notified(None, "x/y", None)),
            ],
            told,
        )


class CloseTests(SynchronousTestCase):
    """The end of a bridge."""

    def test_close(self) -> None:
        """Whoever waits is told, everything is hung up, no timer is left."""
        rig = up()
        rig.deliver(1, call(11), Called(12, "tools/list", None), call(13))
        rig.loses(1, 4, FORGOTTEN)
        rig.loses(1, 2, BUSY)
        rig.says(1, question(5))
        rig.taken()

        rig.do(rig.bridge.close(Reason.STOPPING, "mcpbridge is stopping"))

        effects = rig.taken()
        self.assertEqual(
            [(11, "bridge_stopping", True), (12, "bridge_stopping", True), (13, "bridge_stopping", True)],
            errors(effects),
        )
        self.assertEqual([Hangup(1), Hangup(2)], [effect for effect in effects if isinstance(effect, Hangup)])
        self.assertEqual({}, rig.timers)
        self.assertEqual(
            {"sessions": 1, "exchanges": 0, "conversations": 0, "questions": 0, "held": 0, "tasks": 0},
            rig.bridge.counts(),
        )

    def test_close_in_mid_call(self) -> None:
        """What may have run is not said to be safe to repeat; what only reads is."""
        rig = up()
        rig.deliver(1, call(11), call(12, "resources/read"))
        rig.taken()

        rig.do(rig.bridge.close(Reason.STOPPING, "mcpbridge is stopping"))

        effects = rig.taken()
        self.assertEqual([(11, "bridge_stopping", False), (12, "bridge_stopping", True)], errors(effects))
        failed = [event for _, event in tells(effects) if isinstance(event, Failed)]
        self.assertIn("Whether tools/call took effect is not known", failed[0].error.message)

    def test_after_close(self) -> None:
        """Requests are turned away at once; nothing begins again."""
        rig = up()
        rig.do(rig.bridge.close(Reason.REMOVED, "it was removed"))
        rig.taken()

        rig.deliver(1, call(11), Notified(None, "x/y", None), Opened(12, "2025-11-25", PARAMS), Cancelled(11))
        rig.connected(1)
        rig.detach(1)

        effects = rig.taken()
        self.assertEqual([(11, "upstream_removed", True), (12, "upstream_removed", True)], errors(effects))
        self.assertEqual([Hangup(1)], [effect for effect in effects if not isinstance(effect, Tell)])
        self.assertEqual({}, rig.timers)
        self.assertEqual(0, sum(rig.bridge.counts().values()))

    def test_same_effects(self) -> None:
        """The same happenings have the same effects."""

        def story() -> list[BridgeEffect]:
            rig = up()
            rig.deliver(1, call(11), Called(12, "tools/list", None))
            rig.ends(1, CRASHED)
            rig.fire("reconnect")
            rig.opens(2)
            return rig.taken()

        self.assertEqual(story(), story())

    def test_snapshot(self) -> None:
        """What is known is handed out, and taken by another bridge."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None))
        rig.answers(1, 2, tools("a"))

        snapshot = rig.bridge.snapshot()

        self.assertEqual(Snapshot(raw(ANNOUNCING), {"tools/list": tools("a")}), snapshot)
        self.assertIsNone(Rig().bridge.snapshot())


class StatelessTests(SynchronousTestCase):
    """What only servers of the stateless era say."""

    def known(self) -> Rig:
        """A rig whose client has the list of tools."""
        rig = up()
        rig.deliver(1, Called(20, "tools/list", None))
        rig.answers(1, 2, tools("a"))
        rig.taken()
        return rig

    def test_suspected(self) -> None:
        """A list that may have changed is looked up, and the client told if it has."""
        rig = self.known()

        rig.bridge._said(1, Changed("tools", suspected=True))
        rig.do(rig.bridge._take())
        before = rig.taken()
        rig.fire("revalidate")
        rig.answers(1, 3, tools("a", "b"))

        self.assertEqual([], before)
        self.assertIn((1, Changed("tools")), tells(rig.taken()))

    def test_introduced(self) -> None:
        """Clients that were answered from memory hear what the server says of itself when that is different."""
        rig = Rig(known=Snapshot(raw({"capabilities": {"prompts": {}}}), {}))
        rig.attach(1)
        rig.taken()

        rig.opens(1)
        told = [event for _, event in tells(rig.taken()) if isinstance(event, Introduced)]
        rig.ends(1, Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "gone"))
        rig.fire("reconnect")
        rig.opens(2)

        self.assertEqual(1, len(told))
        self.assertEqual([], [event for _, event in tells(rig.taken()) if isinstance(event, Introduced)])

    def test_people_are_slow(self) -> None:
        """While a client is asked something, nothing of it is given up for being slow."""
        rig = up(read_timeout=5.0, call_timeout=100.0)
        rig.deliver(1, call(20, "prompts/get"))
        rig.says(1, question(7, "elicitation/create"))
        rig.taken()

        rig.tick(50)
        before = rig.taken()
        rig.tick(60)

        self.assertEqual(([], [(20, "upstream_timeout", False)]), (before, errors(rig.taken())))

    def test_version_refused(self) -> None:
        """A call that was refused for its revision is sent once more, in a new conversation."""
        refused = Loss(Fate.SESSION_LOST, Reason.VERSION_REFUSED, "no")
        rig = up()
        rig.deliver(1, call(20))

        rig.loses(1, 2, refused)
        rig.opens(2)
        rig.loses(2, 2, refused)

        self.assertEqual([(20, "upstream_version_refused", True)], errors(rig.taken()))

    def test_unsubscribed_at_once(self) -> None:
        """Who unsubscribes before the server has agreed does not want it after a restart either."""
        rig = up()
        rig.deliver(1, Subscribed(20, "a://1", None), Unsubscribed(21, "a://1", None))
        rig.answers(1, 2)
        rig.answers(1, 3)
        rig.taken()

        rig.ends(1, Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "gone"))
        rig.fire("reconnect")
        rig.opens(2)

        self.assertEqual([], [what for _, what in methods(rig.taken()) if what == "resources/subscribe"])


class TaskTests(SynchronousTestCase):
    """Calls that become tasks at a server of 2025-11-25 (L{mcpbridge.core.tasks.desk} says more)."""

    TASK: Any = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttl": 9}

    def tasked(self, *sessions: SessionId, **policy: Any) -> Rig:
        """Clients of a server with one tool, which runs as nothing but a task."""
        opening = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}},
        }
        rig = Rig(snapshot=False, **policy)
        for session in sessions:
            rig.attach(session)
        rig.opens(1, opening)
        rig.taken()
        return rig

    def call(self, rig: Rig, session: SessionId, xid: int) -> None:
        """A client calls the tool, and it becomes a task; the server gives requests numbers in turn."""
        rig.deliver(session, Called(xid, "tools/call", raw({"name": "only"})))
        rig.answers(1, 2, {"tools": [{"name": "only", "execution": {"taskSupport": "required"}}]})
        rig.answers(1, 3, {"task": self.TASK})

    def test_finished(self) -> None:
        """A client that knows no tasks gets what comes of it."""
        rig = self.tasked(1)

        self.call(rig, 1, 11)
        rig.fire(("tasks", 1, ("look", 11)))
        rig.answers(1, 4, {**self.TASK, "status": "completed"})
        rig.answers(1, 5, {"content": []})

        effects = rig.taken()
        self.assertEqual(
            [(1, method) for method in ("tools/list", "tools/call", "tasks/get", "tasks/result")], methods(effects)
        )
        self.assertEqual([(1, Completed(11, raw({"content": []})))], tells(effects))
        self.assertEqual((False, 0), (rig.bridge.busy(), rig.bridge.counts()["tasks"]))

    def test_waits_while_nothing_is_asked(self) -> None:
        """Between two looks the client still waits, so the bridge is busy; its end is the client's answer."""
        rig = self.tasked(1)
        self.call(rig, 1, 11)
        rig.taken()

        is_busy = rig.bridge.busy()
        rig.do(rig.bridge.close(Reason.STOPPING, "up: the daemon stops"))

        self.assertEqual(True, is_busy)
        self.assertEqual([(11, "bridge_stopping", True)], errors(rig.taken()))
        self.assertEqual({}, rig.timers)

    def test_after_the_end(self) -> None:
        """What is asked of a bridge that is closed is refused at once, and starts nothing."""
        rig = self.tasked(1)
        extensions = raw({"extensions": {"io.modelcontextprotocol/tasks": {}}})
        rig.deliver(1, Opened(10, "2026-07-28", {"capabilities": extensions}))
        self.call(rig, 1, 11)
        rig.do(rig.bridge.close(Reason.STOPPING, "up: the daemon stops"))
        rig.taken()

        rig.deliver(
            1, Called(12, "tools/call", raw({"name": "only"})), Called(13, "tasks/result", raw({"taskId": "t"}))
        )
        rig.deliver(1, TasksWatched(frozenset("t")))

        self.assertEqual([(12, "bridge_stopping", True), (13, "bridge_stopping", True)], errors(rig.taken()))
        self.assertEqual(({}, 0, 0), (rig.timers, rig.bridge.counts()["tasks"], rig.bridge.counts()["exchanges"]))

    def test_called_before_it_opened(self) -> None:
        """A call that waits for a server which nothing is known of becomes a task as well, and is sent once."""
        rig = Rig(snapshot=False)
        rig.attach(1)
        rig.deliver(1, Called(11, "tools/call", raw({"name": "only"})))
        extra: Any = {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}

        rig.opens(1, {"protocolVersion": "2025-11-25", "capabilities": extra})
        rig.answers(1, 2, {"tools": [{"name": "only", "execution": {"taskSupport": "required"}}]})

        sent = [message for _, message in sends(rig.taken()) if isinstance(message, Request)]
        self.assertEqual(["initialize", "tools/list", "tools/call"], [request.method for request in sent])
        self.assertEqual(raw({"name": "only", "task": {"ttl": 3600000}}), sent[-1].params)

    def test_end_while_it_is_answered(self) -> None:
        """A task whose answer is under way when the bridge is closed is not cancelled: nobody could hear it."""
        rig = Rig(snapshot=False, peer=modern.ClientPeer)
        rig.attach(1)
        extensions: Any = {"io.modelcontextprotocol/tasks": {}}
        rig.opens(1, {"supportedVersions": ["2026-07-28"], "capabilities": {"extensions": extensions}})
        rig.deliver(1, Opened(10, "2025-11-25", PARAMS), Called(11, "tools/call", raw({"name": "x"})))
        task = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttlMs": 9}
        rig.answers(1, 2, {**task, "resultType": "task"})
        rig.fire(("tasks", 1, ("look", 11)))
        asked = {"q": {"method": "elicitation/create", "params": {"message": "?"}}}
        task = {**task, "status": "input_required", "inputRequests": asked, "resultType": "complete"}
        rig.answers(1, 3, task)
        rig.deliver(1, InputSupplied(None, {"task-11.q": raw({"action": "cancel"})}))
        rig.taken()

        rig.do(rig.bridge.close(Reason.STOPPING, "up: the daemon stops"))

        self.assertEqual([11], [xid for xid, _, _ in errors(rig.taken())])
        self.assertEqual(({}, 0, 0), (rig.timers, rig.bridge.counts()["tasks"], rig.bridge.counts()["exchanges"]))

    def test_client_is_gone(self) -> None:
        """The server is told to cancel it, though nobody is there any more."""
        rig = self.tasked(1)
        self.call(rig, 1, 11)
        rig.taken()

        rig.detach(1)

        cancel = Request(4, "tasks/cancel", raw({"taskId": "t"}))
        self.assertEqual([(1, cancel)], sends(rig.taken()))
        rig.answers(1, 4, {})
        self.assertEqual([], rig.taken())

    def test_lasting(self) -> None:
        """The result of a task may take as long as a call, though it only reads."""
        rig = self.tasked(1, read_timeout=2.0, call_timeout=60.0)
        rig.deliver(1, Called(11, "tasks/result", raw({"taskId": "t"})))
        rig.taken()

        rig.tick(30)

        self.assertEqual([], rig.taken())

    def test_overdue(self) -> None:
        """A task that does not end is given up, as a call is."""
        rig = self.tasked(1, call_timeout=60.0)
        self.call(rig, 1, 11)
        rig.taken()

        rig.fire(("tasks", 1, ("deadline", 11)))

        effects = rig.taken()
        self.assertEqual([(1, "tasks/cancel")], methods(effects))
        self.assertEqual([(11, "upstream_timeout", False)], errors(effects))

    def test_progress(self) -> None:
        """It goes to whose call it was, also when the call has been answered with the task."""
        rig = self.tasked(1, 2, exclusive=False)
        rig.deliver(2, Called(21, "tools/call", raw({"name": "only", "task": {}}), wants_progress=True))
        rig.answers(1, 2, {"task": self.TASK})
        rig.taken()

        rig.says(1, Notification("notifications/progress", raw({"progressToken": 2, "progress": 1})))

        self.assertEqual([(2, Progressed(21, {"progress": Raw(b"1")}))], tells(rig.taken()))

    def test_shared(self) -> None:
        """On a conversation of several, what a task asks goes to whose task it is, wherever it is said."""
        rig = self.tasked(1, 2, exclusive=False)
        self.call(rig, 2, 21)
        rig.taken()
        related = {"io.modelcontextprotocol/related-task": {"taskId": "t"}}

        rig.says(1, Request(1, "elicitation/create", raw({"message": "?", "_meta": related})))
        rig.says(1, Request(2, "elicitation/create", raw({"message": "?"})))

        effects = rig.taken()
        ((session, asked),) = tells(effects)
        assert isinstance(asked, InputRequired)
        self.assertEqual((2, 21), (session, asked.xid))
        (refused,) = (message for _, message in sends(effects) if isinstance(message, Error))
        self.assertEqual(2, refused.id)
