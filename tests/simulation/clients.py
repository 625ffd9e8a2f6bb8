"""
Scripted clients that count their ids from 0, as all do, and the pipes that they are served through.

A client knows what it asked and watches what it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.interfaces import IClientTransport, IMessageLink
from tests.simulation.servers import Machine
from tests.simulation.world import Wire, World

GONE = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "the client is gone")

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
    """

    method: str
    token: str
    at: float
    asks: bool
    newest: int
    uri: str = ""
    cancelled: bool = False


@attrs.define(eq=False)
class Client:
    """
    An agent.

    @ivar name: in all that it asks, so that answers for another one are noticed.
    @ivar patient: it waits for all its answers before it leaves.
    @ivar whole: lists are given to it whole.
    @ivar done: it has left.
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
    _count: int = 0
    _lingered: bool = False
    _wished: dict[str, str] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        self.pipe = ClientPipe(self.world, self)

    # What it does.

    def start(self) -> None:
        """Say who it is."""
        params = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}, "roots": {}}}
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
        elif self.patient and not self.open and not self._lingered:
            # Whatever went wrong is over by then.
            self._lingered = True
            self.world.clock.callLater(100.0, self._act)
        elif not self.patient or not self.open:
            self.leave()
        else:
            self.world.later(PAUSE, self._act)

    def leave(self) -> None:
        """Go, whatever is open."""
        self.done = True
        told = self.machine.kind == "pipe" or self.machine.streaming
        if told and self.machine.troubled < self.world.clock.seconds() - 60.0:
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

    def _token(self) -> str:
        return f"{self.name}/{self._count}"

    def _call(self) -> None:
        ask, fail = self.world.maybe(0.25), self.world.maybe(0.1)
        self._ask("tools/call", {"name": "t", "arguments": {"token": self._token(), "ask": ask, "fail": fail}})

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
        request_id = self.world.chance.choice(candidates)
        asked = self.open.pop(request_id)
        asked.cancelled = True
        self.over[request_id] = asked
        self.pipe.say(Notification("notifications/cancelled", jsonrpc.value({"requestId": request_id})))

    def _babble(self) -> None:
        self._ask("ping", None)
        self.pipe.say(Notification("x/notified", jsonrpc.value({"from": self.name})))
        self.pipe.say(Result(4711, jsonrpc.value({})))
        self.pipe.say(InvalidMessage(-32700, "Parse error"))

    def _dawdle(self) -> None:
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
        if isinstance(answer, Error):
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
        if self.world.maybe(0.9):
            self.pipe.say(Notification("notifications/initialized"))
        self._act()

    def _failed(self, asked: Asked, answer: Error) -> None:
        self.errors.append(f"{asked.method}: {answer.error.message}")
        if answer.error.data is None and answer.error.code == -1 and answer.error.message != asked.token:
            self.world.wrong(f"{self.name} asked {asked} and was told {answer.error.message}")
        calm = asked.at > self.machine.troubled and not asked.asks
        if calm and answer.error.code != -1 and "mcpbridge was restarted" not in answer.error.message:
            self.world.wrong(f"{self.name} asked {asked} when all was well and was told {answer.error.message}")

    def _check(self, asked: Asked, result: dict[str, Any]) -> None:
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
            names = [tool["name"] for tool in result["tools"]]
            expected = [f"tool{number}" for number in range(len(names))]
            if names != expected or (self.whole and "nextCursor" in result):
                self.world.wrong(f"{self.name} was given a list in pieces: {result}")

    def _questioned(self, question: Request) -> None:
        if question.method == "roots/list":
            self.pipe.say(Result(question.id, jsonrpc.value({"for": "", "roots": []})))
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


@implementer(IClientTransport)
@attrs.define(eq=False)
class ClientPipe:
    """
    The way between a client and the daemon of the day, with the memory of the client's relay.

    What the client says while there is no daemon waits for the next one.

    @ivar began: the client has been started.
    """

    _world: World
    _client: Client
    began: bool = False
    _link: IMessageLink | None = None
    _to_client: Wire = attrs.field(init=False)
    _to_daemon: Wire = attrs.field(init=False)
    _memory: bytes = b""
    _taken: list[RequestId] = attrs.Factory(list)
    _over: bool = False

    def __attrs_post_init__(self) -> None:
        self._to_client = Wire(self._world, self._client.hear)
        self._to_daemon = Wire(self._world, self._arrive)
        self._to_daemon.pause()

    # The client's end.

    def say(self, message: Message | InvalidMessage) -> None:
        """From the client."""
        if not self._over:
            self._to_daemon.put(message if isinstance(message, InvalidMessage) else jsonrpc.encode(message))

    def hang_up(self) -> None:
        """The client is gone."""
        self._over = True
        self._to_daemon.cut()
        self._world.later(0.1, self._tell_gone)

    def _tell_gone(self) -> None:
        if self._link is not None:
            self._link.disconnected(GONE)

    def dawdle(self, seconds: float) -> None:
        """The client does not read for a while."""
        self._to_client.pause()
        if self._link is not None:
            self._link.congested()
        self._world.clock.callLater(seconds, self._reads_on)

    def _reads_on(self) -> None:
        self._to_client.resume()
        if self._link is not None:
            self._link.relieved()

    # The daemon's end.

    def let_go(self) -> None:
        """The daemon has died. What it had not read waits."""
        # The next one begins with what it remembers, and tells what is newer.
        self._client.newest = 0
        self._link = None
        self._to_daemon.pause()

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """See L{IMessageTransport}."""
        self._link = link
        if self._over:
            self._world.later(0.1, self._tell_gone)
        self._world.clock.callLater(0, self.resume)
        return succeed(None)

    def _arrive(self, line: bytes | InvalidMessage) -> None:
        assert self._link is not None
        if isinstance(line, InvalidMessage):
            self._link.received_garbage(line)
            return
        message = jsonrpc.decode(line)
        assert not isinstance(message, jsonrpc.Batch)
        if isinstance(message, Request):
            self._taken.append(message.id)
        self._link.received(message, None)

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IMessageTransport}."""
        if isinstance(message, Result | Error) and message.id in self._taken:
            self._taken.remove(message.id)
        if not self._over:
            self._to_client.put(jsonrpc.encode(message))

    def send_batch(self, messages: Sequence[Message]) -> None:
        """See L{IClientTransport}."""
        for message in messages:
            self.send(message)

    def abandon(self, request_id: RequestId) -> None:
        """See L{IMessageTransport}."""

    def pause(self) -> None:
        """See L{IMessageTransport}."""
        self._to_daemon.pause()

    def resume(self) -> None:
        """See L{IMessageTransport}."""
        if self._link is not None:
            self._to_daemon.resume()

    def disconnect(self) -> Deferred[None]:
        """See L{IMessageTransport}."""
        return succeed(None)

    def remember(self, state: bytes) -> None:
        """See L{IClientMemory}."""
        self._memory = state

    def remembered(self) -> bytes:
        """See L{IClientMemory}."""
        return self._memory

    def unanswered(self) -> Sequence[RequestId]:
        """See L{IClientMemory}."""
        return tuple(self._taken)

    def forget(self, request_id: RequestId) -> None:
        """See L{IClientMemory}."""
        if request_id in self._taken:
            self._taken.remove(request_id)
