"""
Scripted servers. Those of the stateless era are in L{tests.simulation.stateless_servers}, and the ways that lead to all
of them in L{tests.simulation.transports}.

A machine keeps a ledger of the calls that it ran, whatever crashes in between: no call may be in it twice.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import attrs

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from tests.simulation.roots import Roots
from tests.simulation.session_tasks import CAPABILITY, TOOLS, SessionTasks
from tests.simulation.stateless_servers import StatelessSession
from tests.simulation.tasks import OPTIONAL, REQUIRED, Task, Tasks
from tests.simulation.world import LONGEST, World

if TYPE_CHECKING:
    from tests.simulation.transports import Transport

#: How long a call takes at most, in seconds.
WORK = 3.0

#: How long one that is slow takes to say that it is there, in seconds at most.
SIGN_OF_LIFE = 25.0

#: What is asked once, for as long as there is a connection: it is not known that nobody heard it.
_ONCE = frozenset(("initialize", "server/discover", "resources/subscribe", "subscriptions/listen", "ping"))


@attrs.define(eq=False)
class Machine:
    """
    What a server runs on.

    @ivar kind: one channel for all (a child process), or one for each request and a session (HTTP).
    @ivar eras: which it speaks; both, each message on its own.
    @ivar announcing: it tells when its tools change.
    @ivar streaming: over HTTP, there is a shared stream, and its end tells that a session is known no more.
    @ivar ledger: how often each call was run.
    @ivar cancelled: calls that it was told to stop.
    @ivar up: whether it can be reached.
    @ivar silent: it takes what comes and says nothing.
    @ivar told: the version of its tools that it last announced.
    @ivar troubled: until when requests may be lost with good reason.
    @ivar unheard: when it last did not hear, or ended, what is asked once only.
    @ivar hung_at: when it began to hang for good.
    @ivar hung: the connections that it hangs in.
    @ivar slow: some of its calls never end, and it takes its time to say that it is there.
    @ivar rooted: its sessions go by the roots of their client.
    @ivar tasks: calls that go on behind a handle; L{None} if it has no such thing.
    """

    world: World
    kind: Literal["pipe", "http"]
    announcing: bool
    streaming: bool
    eras: Literal["session", "stateless", "both"] = "session"
    ledger: Counter[str] = attrs.Factory(Counter)
    cancelled: set[str] = attrs.Factory(set)
    up: bool = True
    silent: bool = False
    troubled: float = 0.0
    unheard: float = 0.0
    hung_at: float | None = None
    hung: list[Transport] = attrs.Factory(list)
    slow: bool = False
    rooted: bool = False
    tasks: Tasks | None = None
    tools: int = 1
    told: int = 1
    _crashed: float = -10.0
    opened: int = 0
    sessions: list[ServerSession | StatelessSession] = attrs.Factory(list)
    transports: list[Transport] = attrs.Factory(list)

    def take_tasks(self) -> None:
        """It has tasks from now on."""
        self.tasks = Tasks(self.world, lambda: self.silent, self._task_changed)

    def _task_changed(self, task: Task) -> None:
        for session in list(self.sessions):
            session.task_changed(task)

    def crash(self, seconds: float) -> None:
        """It dies with all that it was doing, and is back after a while."""
        if self.tasks is not None:
            self.tasks.crash()
        self.up = self.silent = False
        # A gap of a few seconds is no reason to lose what is asked in it; two of them in a row are one that is longer.
        now = self.world.clock.seconds()
        self._trouble(seconds + 2.0 if seconds > 5.0 or now < self._crashed + 5.0 else 0.3)
        self._crashed = now + seconds
        for transport in list(self.transports):
            transport.break_off()
        self.forget()
        self.world.clock.callLater(seconds, self._restarted)

    def _trouble(self, seconds: float) -> None:
        self.troubled = max(self.troubled, self.world.clock.seconds() + seconds)

    def _restarted(self) -> None:
        self.up = True

    def cut(self) -> None:
        """All connections break; the machine runs on."""
        self._trouble(0.3)
        for transport in list(self.transports):
            transport.break_off()

    def forget(self) -> None:
        """It knows its sessions no more, but ends what it has begun. A running child is its session: it cannot."""
        if self.kind == "pipe" and self.up:
            return
        self.lose_what_is_under_way()
        self.sessions = [session for session in self.sessions if isinstance(session, StatelessSession) and self.up]
        for transport in self.transports:
            self.world.later(5.0, transport.look)

    def lose_what_is_under_way(self) -> None:
        """What is on its way now may get lost with good reason."""
        self._trouble(0.3)

    def hang_for_good(self) -> None:
        """It takes what comes on the connections that it has now, and never says anything there again."""
        self.hung_at = self.world.clock.seconds()
        self.silent = self.kind == "http"
        self._trouble(LONGEST)
        self.hung += self.transports
        for transport in self.hung:
            transport.hangs = True

    def swallowed(self, message: Message) -> None:
        """Nothing came of this."""
        if isinstance(message, Request) and message.method in _ONCE:
            self.unheard = LONGEST

    def hang(self, seconds: float) -> None:
        """Half of it is dead: it takes what comes and does nothing."""
        self.silent = True
        # What opens meanwhile is given up only after its deadline.
        self._trouble(seconds + 30.0)
        self.world.clock.callLater(seconds, self._woken)

    def _woken(self) -> None:
        self.silent = False

    def change(self) -> None:
        """It has another tool, and says so if it is of that sort."""
        self.tools += 1
        if self.announcing:
            self.told = self.tools
            for session in self.sessions:
                session.say(Notification("notifications/tools/list_changed"))

    def hears(self, uri: str) -> bool:
        """Whether somebody who is still connected has subscribed to this."""
        return any(uri in session.subscribed and session.connected for session in self.sessions)

    def waits(self) -> list[str]:
        """Questions of sessions that are still connected, asked when all was well, and never answered."""
        return [what for session in self.sessions if session.connected for what in session.waits(self.troubled)]

    def flood(self) -> None:
        """It says things that nobody asked for."""
        for session in self.sessions:
            for message in (
                Result(99_999, jsonrpc.value({})),
                Result("1", jsonrpc.value({})),
                Error(None, ErrorObject(-32700, "what?")),
                Notification("notifications/progress", jsonrpc.value({"progressToken": 77_777, "progress": 1})),
                Notification("notifications/cancelled", jsonrpc.value({"requestId": 55})),
                Notification("notifications/unheard-of"),
                Request(f"ping{self.tools}", "ping"),
                InvalidMessage(-32700, "Parse error"),
            ):
                session.say(message)


@attrs.define(eq=False)
class ServerSession:
    """One conversation, seen from the server."""

    _machine: Machine
    _transport: Transport
    _work: dict[RequestId, str | None] = attrs.Factory(dict)
    subscribed: set[str] = attrs.Factory(set)
    _questions: dict[RequestId, Request] = attrs.Factory(dict)
    _asked_at: dict[RequestId, float] = attrs.Factory(dict)
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(0))
    _tasks: SessionTasks | None = None
    _roots: Roots | None = None
    _marks: dict[RequestId, dict[str, Any]] = attrs.Factory(dict)
    is_open: bool = False

    def __attrs_post_init__(self) -> None:
        if self._machine.tasks is not None:
            self._tasks = SessionTasks(self._machine.tasks, self, self.say, self._ids)

    @property
    def connected(self) -> bool:
        """Whether the daemon is still at the other end."""
        return self._transport.connected

    def waits(self, since: float) -> list[str]:
        """Questions asked after this time and not answered."""
        return [
            f"question {key} of {at:.3f} s"
            for key, at in self._asked_at.items()
            if at > since and (not isinstance(key, str) or self._tasks is None or self._tasks.is_asked(key))
        ]

    def task_changed(self, task: Task) -> None:
        """A task is in another state than before."""
        if self._tasks is not None and self.connected:
            self._tasks.tell(task)
            self._tasks.changed(task)

    def say(self, message: Message | InvalidMessage, within: RequestId | None = None) -> None:
        """Toward the client."""
        if isinstance(message, Request) and self._transport.reaches(within):
            self._asked_at[message.id] = self._machine.world.clock.seconds()
        self._transport.carry_back(message, within)

    def hear(self, message: Message) -> None:
        """From the client."""
        match message:
            case Request():
                self._asked(message)
            case Notification(method="notifications/initialized") if self._roots is not None:
                self._roots.ask()
            case Notification(method="notifications/roots/list_changed") if self._roots is not None:
                self._roots.ask()
            case Notification(method="notifications/initialized") if self._machine.world.maybe(0.3):
                self.say(Request(next(self._ids), "roots/list"))
            case Notification(method="notifications/cancelled"):
                assert message.params is not None
                request_id = jsonrpc.read(message.params)["requestId"]
                if self._tasks is not None:
                    self._tasks.cancelled(request_id)
                token = self._work.pop(request_id, None)
                if token is not None:
                    self._machine.cancelled.add(token)
            case Result() | Error():
                self._answered(message)

    def _asked(self, request: Request) -> None:
        if request.id in self._work:
            self._machine.world.wrong(f"the id {request.id!r} was used twice in one session")
        params = {} if request.params is None else jsonrpc.read(request.params)
        match request.method:
            case "server/discover" if self._machine.world.maybe(0.1):
                # Some say nothing to what they do not know.
                return
            case "ping" if self._machine.slow:
                self._machine.world.clock.callLater(
                    self._machine.world.hangs.uniform(0.0, SIGN_OF_LIFE), self._answer, request, {}
                )
            case "initialize":
                self.is_open = True
                if self._machine.rooted and "roots" in params["capabilities"]:
                    self._roots = Roots(self._machine.world, self.say, self._ids)
                tools = {"listChanged": True} if self._machine.announcing else {}
                capabilities: dict[str, Any] = {"tools": tools, "resources": {"subscribe": True}, "logging": {}}
                if self._tasks is not None:
                    capabilities["tasks"] = CAPABILITY
                self._answer(request, {"protocolVersion": "2025-11-25", "capabilities": capabilities})
            case "tools/list":
                self._list(request, params)
            case "tools/call":
                self._call(request, params)
            case _ if self._tasks is not None and request.method.startswith("tasks/"):
                self._tasks.asked(request, params)
            case "resources/read" | "x/unknown":
                self._work[request.id] = None
                self._machine.world.later(WORK, self._finish, request, params)
            case "resources/subscribe":
                self.subscribed.add(params["uri"])
                self._answer(request, {})
            case "resources/unsubscribe":
                self.subscribed.discard(params["uri"])
                self._answer(request, {})
            case "logging/setLevel":
                self._answer(request, {})
            case _:
                self.say(Error(request.id, ErrorObject(-32601, "Method not found")), request.id)

    def _answer(self, request: Request, result: dict[str, Any]) -> None:
        self.say(Result(request.id, jsonrpc.value(result)), request.id)

    def _list(self, request: Request, params: dict[str, Any]) -> None:
        at = int(params.get("cursor", "0"))
        page: dict[str, Any] = {"tools": [{"name": f"tool{at}"}]}
        if at + 1 < min(self._machine.tools, 4):
            page["nextCursor"] = str(at + 1)
        elif self._tasks is not None:
            page["tools"] += TOOLS
        page["version"] = self._machine.tools
        self._answer(request, page)

    def _call(self, request: Request, params: dict[str, Any]) -> None:
        asked = params["arguments"]
        token = asked["token"]
        if self._tasks is not None and params["name"] == REQUIRED and "task" not in params:
            self.say(Error(request.id, ErrorObject(-32601, "This tool runs as a task only")), request.id)
            return
        if "task" in params and (self._tasks is None or params["name"] not in (REQUIRED, OPTIONAL)):
            self._machine.world.wrong(f"a call that cannot become a task was to become one: {params}")
        self._machine.ledger[token] += 1
        if "progressToken" in params.get("_meta", {}):
            progress = {"progressToken": params["_meta"]["progressToken"], "progress": 1, "message": token}
            self.say(Notification("notifications/progress", jsonrpc.value(progress)), request.id)
        if self._tasks is not None and "task" in params:
            self._tasks.call(request, params)
            return
        self._work[request.id] = token
        if self._roots is not None:
            self._marks[request.id] = self._roots.mark()
        if asked.get("endless"):
            return
        if asked["ask"]:
            question = Request(next(self._ids), "elicitation/create", jsonrpc.value({"message": token}))
            self._questions[question.id] = request
            self.say(question, request.id)
        else:
            self._machine.world.later(WORK, self._finish, request, asked)

    def _answered(self, message: Result | Error) -> None:
        self._asked_at.pop(message.id or 0, None)
        if self._tasks is not None and self._tasks.answered(message):
            return
        if self._roots is not None and self._roots.answered(message):
            return
        request = self._questions.pop(message.id, None) if message.id is not None else None
        if request is None:
            return
        assert request.params is not None
        asked = jsonrpc.read(request.params)["arguments"]
        answer: dict[str, Any] = jsonrpc.read(message.result) if isinstance(message, Result) else {}
        if answer.get("for", asked["token"]) != asked["token"]:
            self._machine.world.wrong(f"{asked['token']} was answered by {answer}")
        self._machine.world.later(WORK, self._finish, request, asked)

    def _finish(self, request: Request, asked: dict[str, Any]) -> None:
        if request.id not in self._work or self._machine.silent:
            return
        del self._work[request.id]
        if asked.get("fail"):
            self.say(Error(request.id, ErrorObject(-1, asked["token"])), request.id)
        else:
            self._answer(request, {"for": asked["token"], "big": 2**80, **self._marks.pop(request.id, {})})
