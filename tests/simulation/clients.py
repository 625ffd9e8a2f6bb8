"""
Scripted clients that count their ids from 0, as all do.

A client knows what it asked and watches what it is told.
"""

from __future__ import annotations

from typing import Any

import attrs

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Notification, Request, RequestId, Result
from tests.simulation.handles import Handles, Held
from tests.simulation.pipes import ClientPipe
from tests.simulation.promises import check_deadline, check_followed, check_roots
from tests.simulation.roots import ANSWERS, roots_of
from tests.simulation.servers import Machine
from tests.simulation.session_handles import SessionHandles
from tests.simulation.tasks import OPTIONAL, REQUIRED
from tests.simulation.world import World

#: Between two things that a client does, in seconds at most.
PAUSE = 2.0


@attrs.define
class Asked:
    """
    A request under way.

    @ivar at: when it was asked.
    @ivar asks: the server will ask back, and may get no answer.
    @ivar newest: the version of the tools that the client has been told of by then.
    @ivar uri: of a subscription.
    @ivar tool: of a call.
    @ivar end: what is to become of a task, if the call becomes one.
    @ivar held: the task that this is about.
    @ivar wants_task: the call is to become a task.
    """

    method: str
    token: str
    at: float
    asks: bool
    newest: int
    uri: str = ""
    cancelled: bool = False
    tool: str = ""
    end: str = ""
    held: Held | None = None
    wants_task: bool = False


@attrs.frozen
class LetGo:
    """
    A call that is not waited for any more.

    @ivar at: since when.
    @ivar is_cancelled: the client has said so, and is there.
    """

    request_id: RequestId
    at: float
    is_cancelled: bool


@attrs.define(eq=False)
class Client:
    """
    An agent.

    @ivar name: in all that it asks, so that answers for another one are noticed.
    @ivar patient: it waits for all its answers before it leaves.
    @ivar whole: lists are given to it whole.
    @ivar done: it has left.
    @ivar version: the revision that it speaks, of the session era.
    @ivar handles: of the tasks that it follows.
    @ivar let_go: calls that it does not wait for any more, by token.
    @ivar given: requests that the daemon has given it a result of, wanted or not.
    @ivar restarted: when the daemon died last.
    @ivar came: when it said who it is.
    @ivar dawdled: when it last did not read, or answer, for a while.
    @ivar trusting: from then on all is well for it, whatever was before; never, if it is L{None}.
    """

    name: str
    world: World
    machine: Machine
    exclusive: bool
    actions: int
    patient: bool
    whole: bool
    pipe: ClientPipe = attrs.field(init=False)
    done: bool = False
    open: dict[RequestId, Asked] = attrs.Factory(dict)
    over: dict[RequestId, Asked] = attrs.Factory(dict)
    answered: int = 0
    errors: list[str] = attrs.Factory(list)
    newest: int = 0
    wishes: set[str] = attrs.Factory(set)
    version: str = "2025-11-25"
    handles: Handles = attrs.field(init=False)
    let_go: dict[str, LetGo] = attrs.Factory(dict)
    given: set[RequestId] = attrs.Factory(set)
    restarted: float = -1.0
    came: float = 0.0
    trusting: float | None = None
    dawdled: float = -1.0
    _count: int = 0
    _lingered: bool = False
    _wished: dict[str, str] = attrs.Factory(dict)
    _progress: dict[RequestId, int] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        self.pipe = ClientPipe(self.world, self)
        self.handles = SessionHandles(self)

    # What it does.

    def start(self) -> None:
        """Say who it is."""
        self.came = self.world.clock.seconds()
        params = {"protocolVersion": self.version, "capabilities": {"elicitation": {}, "roots": {}}}
        self._ask("initialize", {**params, "clientInfo": {"name": self.name}})

    def _act(self) -> None:
        if self.done:
            return
        if self.actions > 0:
            self.actions -= 1
            self.world.chance.choice(
                (
                    self._call,
                    self._call,
                    self._call,
                    self._call,
                    self._list,
                    self._list,
                    self._read,
                    self._wish,
                    self._cancel,
                    self._babble,
                    self._dawdle,
                )
            )()
            self.world.later(PAUSE, self._act)
        elif self.patient and not self.waits and not self._lingered:
            # Whatever went wrong is over by then.
            self._lingered = True
            self.world.clock.callLater(100.0, self._act)
        elif not self.patient or not self.waits:
            self.leave()
        else:
            self.world.later(PAUSE, self._act)

    @property
    def waits(self) -> bool:
        """Whether anything may still come of what it has asked."""
        return bool(self.open or self.handles.followed)

    def leave(self) -> None:
        """Go, whatever is open."""
        self.done = True
        self.world.gone.add(self.name)
        for request_id, asked in self.open.items():
            self._let_go(request_id, asked)
        told = self.machine.kind == "pipe" or self.machine.streaming
        if told and max(self.machine.troubled, self.machine.unheard) < self.world.clock.seconds() - 60.0:
            for uri in self.wishes:
                if not self.machine.hears(uri):
                    self.world.wrong(f"the subscription of {self.name} to {uri} was lost")
        self.pipe.hang_up()

    def _ask(self, method: str, params: dict[str, Any] | None, token: str = "") -> None:
        request_id = self._count
        self._count += 1
        if params is not None and method == "tools/call" and self.world.maybe(0.5):
            params["_meta"] = {"progressToken": request_id}
        self.open[request_id] = Asked(
            method,
            token or f"{self.name}/{request_id}",
            self.world.clock.seconds(),
            params is not None and params.get("arguments", {}).get("ask", False),
            self.newest,
            "" if params is None else params.get("uri", ""),
        )
        self.pipe.say(Request(request_id, method, None if params is None else jsonrpc.value(params)))

    def _let_go(self, request_id: RequestId, asked: Asked) -> None:
        if asked.method == "tools/call":
            self.let_go[asked.token] = LetGo(request_id, self.world.clock.seconds(), asked.cancelled)

    def ask_about(self, held: Held, method: str, params: dict[str, Any]) -> None:
        """About a task."""
        self._ask(method, params, held.token)
        asked = self.open[self._count - 1]
        asked.held = held
        # Whatever went wrong since the task was begun may have been the end of it.
        asked.at = held.at
        asked.asks = held.is_doubtful or held.at < self.restarted

    def ask_about_all(self) -> None:
        """Of its tasks."""
        self._ask("tasks/list", {})
        self.open[self._count - 1].asks = True

    def _token(self) -> str:
        return f"{self.name}/{self._count}"

    def _call(self) -> None:
        ask, fail = self.world.maybe(0.25), self.world.maybe(0.1)
        params: dict[str, Any] = {"name": "t", "arguments": {"token": self._token(), "ask": ask, "fail": fail}}
        if self.machine.slow and self.world.hangs.random() < 0.2:
            self._call_in_vain(params)
        elif self.machine.tasks is not None and self.world.tasks.random() < 0.5:
            self._call_for_task(params)
        else:
            self._ask("tools/call", params)

    def _call_in_vain(self, params: dict[str, Any]) -> None:
        """It never ends; so it is given up."""
        params["arguments"] |= {"ask": False, "endless": True}
        self._ask("tools/call", params)
        self.open[self._count - 1].asks = True
        if self.world.hangs.random() < 0.7:
            self.world.clock.callLater(self.world.hangs.uniform(1.0, 20.0), self._regret, self._count - 1)

    def _call_for_task(self, params: dict[str, Any]) -> None:
        chance = self.world.tasks
        params["name"] = chance.choice((REQUIRED, OPTIONAL))
        arguments = params["arguments"]
        arguments["end"] = chance.choice(("", "", "", "isError", "drop"))
        if params["name"] == REQUIRED and chance.random() < 0.1:
            arguments["endless"] = True
        wants_task = self.handles.offered and chance.random() < 0.6
        if wants_task:
            params["task"] = {"ttl": 60_000}
        self._ask("tools/call", params)
        asked = self.open[self._count - 1]
        asked.wants_task = wants_task
        asked.tool, asked.end = params["name"], arguments["end"]
        asked.asks = asked.asks or "endless" in arguments
        if chance.random() < 0.15:
            # When it may have become a task already, or be about to.
            self.world.clock.callLater(chance.uniform(0.0, 0.2), self._regret, self._count - 1)

    def _list(self) -> None:
        self._ask("tools/list", None)

    def _read(self) -> None:
        self._ask(self.world.chance.choice(("resources/read", "x/unknown")), {"token": self._token()})

    def _wish(self) -> None:
        uri = self.world.chance.choice(("a://1", "a://2"))
        match self.world.chance.randrange(4):
            case 0:
                self._ask("logging/setLevel", {"level": self.world.chance.choice(("debug", "error"))})
            case 1:
                # Whatever comes of it, updates are not wanted from now on.
                self.wishes.discard(uri)
                self._wished[uri] = "resources/unsubscribe"
                self._ask("resources/unsubscribe", {"uri": uri})
            case _:
                self._wished[uri] = "resources/subscribe"
                self._ask("resources/subscribe", {"uri": uri})

    def _cancel(self) -> None:
        candidates = [request_id for request_id, asked in self.open.items() if asked.method != "initialize"]
        if not candidates:
            return
        self._cancel_one(self.world.chance.choice(candidates))

    def _regret(self, request_id: RequestId) -> None:
        if self.done or request_id not in self.open:
            return
        if self.patient:
            self._cancel_one(request_id)
        else:
            self.leave()

    def _cancel_one(self, request_id: RequestId) -> None:
        asked = self.open.pop(request_id)
        asked.cancelled = True
        self._let_go(request_id, asked)
        self.handles.drop(asked.held)
        self.over[request_id] = asked
        self.pipe.say(Notification("notifications/cancelled", jsonrpc.value({"requestId": request_id})))

    def _babble(self) -> None:
        self._ask("ping", None)
        self.pipe.say(Notification("x/notified", jsonrpc.value({"from": self.name})))
        self.pipe.say(Result(4711, jsonrpc.value({})))
        self.pipe.say(InvalidMessage(-32700, "Parse error"))

    def _dawdle(self) -> None:
        self.dawdled = self.world.clock.seconds()
        self.pipe.dawdle(self.world.chance.uniform(0.0, 3.0))

    # What it is told.

    def hear(self, line: bytes) -> None:
        """One message."""
        if self.done:
            return
        message = jsonrpc.decode(line)
        match message:
            case Result() | Error():
                self._answered(message)
            case Request():
                self._questioned(message)
            case Notification(method="notifications/tools/list_changed"):
                self.newest = self.machine.told
            case Notification(method="notifications/tasks/status"):
                assert message.params is not None
                self.handles.told(jsonrpc.read(message.params))
            case Notification(method="notifications/progress"):
                assert message.params is not None
                self._progressed(jsonrpc.read(message.params))

    def _answered(self, answer: Result | Error) -> None:
        if answer.id is None:
            return
        asked = self.open.pop(answer.id, None)
        if asked is None:
            before = self.over.get(answer.id)
            if before is None or not before.cancelled:
                self.world.wrong(f"{self.name} was told {bytes(jsonrpc.encode(answer))!r} for nothing open ({before})")
            return
        self.answered += 1
        self.over[answer.id] = asked
        check_deadline(self, asked)
        if isinstance(answer, Error):
            self._let_go(answer.id, asked)
            self._failed(asked, answer)
        else:
            self._check(asked, jsonrpc.read(answer.result))
        if asked.method == "initialize":
            self._opened(answer)

    def _opened(self, answer: Result | Error) -> None:
        if isinstance(answer, Error):
            # What agents do: they try again by and by, or give up.
            if self.actions > 0:
                self.actions -= 1
                self.world.later(PAUSE, self.start)
            else:
                self.leave()
            return
        self.handles.opened(jsonrpc.read(answer.result))
        if self.world.maybe(0.9):
            self.pipe.say(Notification("notifications/initialized"))
        self._act()

    @property
    def troubled(self) -> float:
        """Until when what it asks may be lost with good reason."""
        return self.machine.troubled if self.trusting is None else min(self.machine.troubled, self.trusting)

    def _failed(self, asked: Asked, answer: Error) -> None:
        self.errors.append(f"{asked.method}: {answer.error.message}")
        if asked.held is not None:
            self.handles.failed(asked.held, asked.method)
        if self.is_due(asked, answer.error):
            return
        if answer.error.data is None and answer.error.code == -1 and answer.error.message != asked.token:
            self.world.wrong(f"{self.name} asked {asked} and was told {answer.error.message}")
        calm = asked.at > self.troubled and not asked.asks
        calm = calm and (asked.held is None or asked.held.at > self.restarted)
        if calm and answer.error.code != -1 and "mcpbridge was restarted" not in answer.error.message:
            self.world.wrong(f"{self.name} asked {asked} when all was well and was told {answer.error.message}")

    def is_due(self, asked: Asked, error: ErrorObject) -> bool:
        """Whether a task has to end, or to be answered, with this error."""
        if asked.method == "tasks/cancel":
            return error.code == -32602 and asked.held is not None and self.handles.is_over(asked.held)
        end = asked.end if asked.held is None else asked.held.end
        return end == "drop" and asked.token in error.message

    def _check(self, asked: Asked, result: dict[str, Any]) -> None:
        if asked.held is not None:
            if asked.held.token:
                self.handles.answered(asked.held, asked.method, result)
            else:
                self.world.wrong(f"{self.name} asked for a task of somebody else and was given {result}")
            return
        if asked.method == "tasks/list":
            self.handles.listed(result)
            return
        if asked.method == "tools/call" and asked.wants_task:
            self.handles.begun(asked.token, asked.at, asked.end, asked.asks, result)
            result = {"for": asked.token, "big": 2**80}
        if asked.end == "isError":
            result.pop("isError", None)
        if asked.method == "tools/call":
            check_roots(self, asked, result)
            check_followed(self, asked)
        if asked.method in ("tools/call", "resources/read", "x/unknown") and result != {
            "for": asked.token,
            "big": 2**80,
        }:
            self.world.wrong(f"{self.name} asked {asked} and was given {result}")
        if asked.method == "tools/call" and self.machine.ledger[asked.token] != 1:
            self.world.wrong(f"{asked} was answered and run {self.machine.ledger[asked.token]} times")
        if asked.method == "resources/subscribe" and self._wished.get(asked.uri) == asked.method:
            self.wishes.add(asked.uri)
        if asked.method == "tools/list":
            if asked.at > self.machine.troubled and result["version"] < asked.newest:
                self.world.wrong(f"{self.name} was told of tools {asked.newest} and given {result}")
            names = [tool["name"] for tool in result["tools"] if tool["name"] not in (REQUIRED, OPTIONAL)]
            expected = [f"tool{number}" for number in range(len(names))]
            if names != expected or (self.whole and "nextCursor" in result):
                self.world.wrong(f"{self.name} was given a list in pieces: {result}")

    def _questioned(self, question: Request) -> None:
        if question.method == "roots/list":
            answer = Result(question.id, jsonrpc.value({"for": "", **roots_of(self.name)}))
            if self.machine.rooted:
                in_time = self.world.roots.random() < 0.8
                self.dawdled = self.dawdled if in_time else self.world.clock.seconds()
                delay = self.world.roots.uniform(0.0, ANSWERS) if in_time else 5.0
                self.world.clock.callLater(delay, self.pipe.say, answer)
            else:
                self.pipe.say(answer)
            return
        assert question.params is not None
        token = jsonrpc.read(question.params)["message"]
        mine = token.startswith(f"{self.name}/")
        # On a pipe it cannot be known whose question it is, if a call of the client before was just cancelled.
        if not mine and not (self.exclusive and self.machine.kind == "pipe"):
            self.world.wrong(f"{self.name} was asked {token}")
        match self.world.chance.randrange(6):
            case 0:
                return
            case 1:
                self.pipe.say(InvalidMessage(-32600, "Invalid response", response_id=question.id))
            case _:
                answer = Result(question.id, jsonrpc.value({"for": token}))
                self.world.later(PAUSE, self.pipe.say, answer)

    def _progressed(self, params: dict[str, Any]) -> None:
        asked = self.open.get(params["progressToken"]) or self.over.get(params["progressToken"])
        if asked is None or asked.token != params["message"]:
            self.world.wrong(f"{self.name} heard of the progress {params} of {asked}")
        if params["progress"] <= self._progress.get(params["progressToken"], 0):
            self.world.wrong(f"{self.name} heard of the progress {params} twice")
        self._progress[params["progressToken"]] = params["progress"]
