"""
A scripted client of the stateless era, and one that speaks both on one pipe.

It is asked by C{input_required}, and does what clients do then: comes back, comes back twice, comes back without an
answer, or never does.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, Notification, Request, RequestId, Result
from tests.simulation.clients import PAUSE, Asked, Client
from tests.simulation.extension_handles import ExtensionHandles
from tests.simulation.handles import Held
from tests.simulation.roots import ANSWERS, roots_of
from tests.simulation.tasks import EXTENSION, REQUIRED

_PREFIX = "io.modelcontextprotocol/"
_TAG = _PREFIX + "subscriptionId"

#: Times that one call is come back for, at most.
_PATIENCE = 8


@attrs.define(eq=False)
class StatelessClient(Client):
    """
    See the top of this module.

    @ivar both: it speaks the session era as well.
    @ivar knows_tasks: it declares the extension.
    @ivar _params: of requests, to ask again.
    @ivar _listens: streams of changes that are open, and the resource that each is for.
    @ivar _came_back: how often, by the token of the call.
    """

    both: bool = False
    knows_tasks: bool = False
    _params: dict[RequestId, dict[str, Any]] = attrs.Factory(dict)
    _listens: dict[RequestId, str] = attrs.Factory(dict)
    _came_back: Counter[str] = attrs.Factory(Counter)
    _opened_session: bool = False

    def __attrs_post_init__(self) -> None:
        Client.__attrs_post_init__(self)
        self.handles = ExtensionHandles(self)

    @property
    def _capabilities(self) -> dict[str, Any]:
        extensions: dict[str, Any] = {"extensions": {EXTENSION: {}}} if self.knows_tasks else {}
        return {"elicitation": {}, "roots": {}, **extensions}

    def start(self) -> None:
        """Ask who is there, or just begin."""
        self.came = self.world.clock.seconds()
        if self.both:
            Client.start(self)
        elif self.world.maybe(0.7):
            self._ask("server/discover", {})
        self.world.later(PAUSE, self._act)

    def _opened(self, answer: Result | Error) -> None:
        if isinstance(answer, Result):
            self.pipe.say(Notification("notifications/initialized"))
            self._opened_session = True

    # What it does.

    def _ask(self, method: str, params: dict[str, Any] | None, token: str = "") -> None:
        old = method in ("initialize", "ping") or (self._opened_session and self.world.maybe(0.5))
        if old or method.startswith(("logging/", "resources/s", "resources/u")):
            if method == "initialize" or self._opened_session:
                Client._ask(self, method, params, token)
            return
        said = dict(params or {})
        meta: dict[str, Any] = {
            _PREFIX + "protocolVersion": "2026-07-28",
            _PREFIX + "clientCapabilities": self._capabilities,
        }
        if method == "tools/call":
            meta["progressToken"] = self._count
            if self.world.maybe(0.2):
                meta[_PREFIX + "logLevel"] = "info"
        request_id = self._count
        self._count += 1
        self._params[request_id] = said
        asks = said.get("arguments", {}).get("ask", False)
        token = token or said.get("arguments", said).get("token", f"{self.name}/{request_id}")
        self.open[request_id] = Asked(method, token, self.world.clock.seconds(), asks, self.newest)
        self.pipe.say(Request(request_id, method, jsonrpc.value({**said, "_meta": meta})))

    def _wish(self) -> None:
        if self._opened_session and self.world.maybe(0.5):
            Client._wish(self)
            return
        if self._listens and self.world.maybe(0.4):
            request_id = self.world.chance.choice(sorted(self._listens))
            del self._listens[request_id]
            self.over[request_id] = Asked("subscriptions/listen", "", 0.0, False, 0, cancelled=True)
            self.pipe.say(Notification("notifications/cancelled", jsonrpc.value({"requestId": request_id})))
            return
        uri = self.world.chance.choice(("b://1", "b://2"))
        request_id = self._count
        self._ask_to_listen(uri)
        self._listens[request_id] = ""

    def _ask_to_listen(self, uri: str) -> None:
        meta = {_PREFIX + "protocolVersion": "2026-07-28", _PREFIX + "clientCapabilities": self._capabilities}
        wanted: dict[str, Any] = {"toolsListChanged": True, "resourceSubscriptions": [uri]}
        if self.handles.followed and self.knows_tasks:
            wanted["taskIds"] = sorted(self.handles.followed)
        params = jsonrpc.value({"notifications": wanted, "_meta": meta})
        self.pipe.say(Request(self._count, "subscriptions/listen", params))
        self._count += 1

    def ask_about(self, held: Held, method: str, params: dict[str, Any]) -> None:
        """About a task; those of this era have it only."""
        session, self._opened_session = self._opened_session, False
        Client.ask_about(self, held, method, params)
        self._opened_session = session

    def ask_about_all(self) -> None:
        """Of its tasks: to be told when they change."""
        request_id = self._count
        self._ask_to_listen("b://3")
        self._listens[request_id] = ""

    def leave(self) -> None:
        """Go, whatever is open."""
        self.wishes |= {uri for uri in self._listens.values() if uri}
        Client.leave(self)

    # What it is told.

    def hear(self, line: bytes) -> None:
        """One message."""
        message = jsonrpc.decode(line)
        if isinstance(message, Notification) and not self.done:
            params = {} if message.params is None else jsonrpc.read(message.params)
            tag = params.get("_meta", {}).get(_TAG)
            if message.method == "notifications/subscriptions/acknowledged" and tag in self._listens:
                self._listens[tag] = "".join(params["notifications"].get("resourceSubscriptions", ()))
            elif tag is not None and tag not in self._listens and not self.over[tag].cancelled:
                self.world.wrong(f"{self.name} was told {message} on a stream that it does not have")
            if message.method == "notifications/tasks":
                self.handles.told(params)
        if isinstance(message, Request) and not self.both:
            self.world.wrong(f"{self.name} was asked {message}")
        Client.hear(self, line)
        if self.both:
            # What it was told in one era is not known to belong to the other.
            self.newest = 0

    def _answered(self, answer: Result | Error) -> None:
        if answer.id in self._listens:
            assert answer.id is not None
            del self._listens[answer.id]
            self.over[answer.id] = Asked("subscriptions/listen", "", 0.0, False, 0, cancelled=True)
            return
        if isinstance(answer, Result) and answer.id in self._params:
            result = jsonrpc.read(answer.result)
            kind = result.pop("resultType", None)
            if kind == "input_required" and answer.id in self.open:
                self.answered += 1
                asked = self.over[answer.id] = self.open.pop(answer.id)
                self._consider(answer.id, asked, result)
                return
            if kind == "task" and self.knows_tasks and answer.id in self.open:
                self.answered += 1
                asked = self.over[answer.id] = self.open.pop(answer.id)
                self.handles.begun(asked.token, asked.at, asked.end, asked.asks, result)
                return
            if kind != "complete" and answer.id in self.open:
                self.world.wrong(f"{self.name} was given a result of kind {kind}")
        Client._answered(self, answer)

    def is_due(self, asked: Asked, error: ErrorObject) -> bool:
        """Whether it has to be answered with this error."""
        if error.code == -32021 and asked.tool == REQUIRED and not self.knows_tasks:
            return self.machine.eras != "session"
        return Client.is_due(self, asked, error)

    def _check(self, asked: Asked, result: dict[str, Any]) -> None:
        if any("execution" in tool for tool in result.get("tools", ())) and "resultType" in result:
            self.world.wrong(f"{self.name} was told of tasks of another dialect: {result}")
        if "resultType" in result:
            del result["resultType"]
            for name in ("_meta", "content", "ttlMs", "cacheScope"):
                result.pop(name, None)
        Client._check(self, asked, result)

    def _consider(self, request_id: RequestId, asked: Asked, result: dict[str, Any]) -> None:
        aside = self.machine.tasks is not None and self.machine.tasks.aside
        if not asked.asks and "roots" not in str(result):
            # On a shared channel its own question may come with another of its calls.
            if not (aside or (self.exclusive and self.machine.kind == "pipe")):
                self.world.wrong(f"{self.name} was asked for {asked}: {result}")
        questions = result.get("inputRequests", {})
        for question in questions.values():
            token = question.get("params", {}).get("message", "")
            if token and not token.startswith(f"{self.name}/") and not (self.exclusive and self.machine.kind == "pipe"):
                self.world.wrong(f"{self.name} was asked {token}")
        self._came_back[asked.token] += 1
        if self._came_back[asked.token] > _PATIENCE:
            return
        if self.machine.rooted and "roots" in str(result):
            # Who does not answer soon is served in roots that are not its own.
            self.world.clock.callLater(
                self.world.roots.uniform(0.0, ANSWERS), self._come_back, request_id, asked, result
            )
            return
        state = result.get("requestState")
        ours = state is not None and state.startswith("mcpbridge-")
        match self.world.chance.randrange(10):
            case 0:
                return
            case 1 if ours:
                self._come_back(request_id, asked, result, answering=False)
            case 2 if ours:
                self._come_back(request_id, asked, result)
                self._come_back(request_id, asked, result)
            case 3 if ours:
                self._come_back(request_id, asked, result)
                self.world.later(60.0, self._come_back, request_id, asked, result)
            case _:
                self.world.later(PAUSE, self._come_back, request_id, asked, result)

    def _answer_to(self, question: dict[str, Any]) -> dict[str, Any]:
        return roots_of(self.name) if question["method"] == "roots/list" else {"for": question["params"]["message"]}

    def _come_back(self, request_id: RequestId, asked: Asked, result: dict[str, Any], answering: bool = True) -> None:
        if self.done:
            return
        again = {name: of for name, of in self._params[request_id].items() if name in ("name", "arguments", "token")}
        if "requestState" in result:
            again["requestState"] = result["requestState"]
        if answering:
            questions = result.get("inputRequests", {})
            again["inputResponses"] = {key: self._answer_to(question) for key, question in questions.items()}
        session, self._opened_session = self._opened_session, False
        self._ask(asked.method, again, asked.token)
        self._opened_session = session
        # Whatever was asked in it, it is one that asks from now on.
        now = self.open[self._count - 1]
        now.asks, now.tool, now.end = True, asked.tool, asked.end
