"""
A scripted server of the stateless era, for the machines of L{tests.simulation.servers}.

It keeps nothing between two requests but streams of changes. A call that asks is answered with a state that says all;
each of its rounds is in the ledger, and none may be there twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from tests.simulation import stateless_tasks
from tests.simulation.tasks import EXTENSION, Task

if TYPE_CHECKING:
    from tests.simulation.servers import Machine
    from tests.simulation.transports import Transport

VERSION = "2026-07-28"
_PREFIX = "io.modelcontextprotocol/"
_TAG = _PREFIX + "subscriptionId"

#: Rounds of a call that asks.
ROUNDS = 3


def is_stateless(message: Message) -> bool:
    """Whether a client says this in the words of the stateless era."""
    if not isinstance(message, Request | Notification) or message.params is None:
        return False
    return _PREFIX + "protocolVersion" in jsonrpc.read(message.params).get("_meta", {})


@attrs.define(eq=False)
class StatelessSession:
    """What one transport has open at a server of the stateless era."""

    _machine: Machine
    _transport: Transport
    _work: dict[RequestId, str | None] = attrs.Factory(dict)
    _listens: dict[RequestId, dict[str, Any]] = attrs.Factory(dict)

    @property
    def connected(self) -> bool:
        """Whether the daemon is still at the other end."""
        return self._transport.connected

    @property
    def subscribed(self) -> set[str]:
        """The resources that somebody listens to."""
        return {uri for wanted in self._listens.values() for uri in wanted.get("resourceSubscriptions", ())}

    def waits(self, since: float) -> list[str]:
        """Nothing is ever asked here that would be waited for."""
        return []

    def say(self, message: Message | InvalidMessage, within: RequestId | None = None) -> None:
        """Toward the client. Changes go to those who listen; requests there are none."""
        if isinstance(message, Notification) and message.method == "notifications/tools/list_changed":
            for request_id, wanted in self._listens.items():
                if wanted.get("toolsListChanged"):
                    params = jsonrpc.value({"_meta": {_TAG: request_id}})
                    self._transport.carry_back(Notification(message.method, params), request_id)
        elif not isinstance(message, Request):
            self._transport.carry_back(message, within)

    def hear(self, message: Message) -> None:
        """From the client."""
        match message:
            case Request():
                self._asked(message)
            case Notification(method="notifications/cancelled"):
                assert message.params is not None
                self.cancel(jsonrpc.read(message.params)["requestId"])
            case Notification():
                if message.method in ("notifications/initialized", "notifications/roots/list_changed"):
                    self._machine.world.wrong(f"a server of the stateless era was told {message.method}")
            case _:
                self._machine.world.wrong(f"a server of the stateless era was answered {message}")

    def cancel(self, request_id: RequestId) -> None:
        """The client has closed a stream, or said so."""
        self._listens.pop(request_id, None)
        token = self._work.pop(request_id, None)
        if token is not None:
            self._machine.cancelled.add(token)

    def _asked(self, request: Request) -> None:
        if request.id in self._work or request.id in self._listens:
            self._machine.world.wrong(f"the id {request.id!r} was used twice at once")
        params: dict[str, Any] = {} if request.params is None else jsonrpc.read(request.params)
        if not is_stateless(request):
            self.say(Error(request.id, ErrorObject(-32602, "Invalid params: _meta is missing")), request.id)
            return
        match request.method:
            case "server/discover":
                tools = {"listChanged": True} if self._machine.announcing else {}
                capabilities: dict[str, Any] = {"tools": tools, "resources": {"subscribe": True}, "logging": {}}
                if self._machine.tasks is not None:
                    capabilities["extensions"] = {EXTENSION: {}}
                self._answer(request, {"supportedVersions": [VERSION], "capabilities": capabilities})
            case "tools/list":
                self._list(request, params)
            case "tools/call":
                self._call(request, params)
            case "resources/read" | "x/unknown":
                self._begin(request, params["token"], params)
            case _ if self._machine.tasks is not None and request.method.startswith("tasks/"):
                self._answer_found(request, stateless_tasks.answered(self._machine.tasks, request.method, params))
            case "subscriptions/listen":
                self._listen(request, params["notifications"])
            case _:
                self.say(Error(request.id, ErrorObject(-32601, "Method not found")), request.id)

    def _answer(self, request: Request, result: dict[str, Any], kind: str = "complete") -> None:
        self.say(Result(request.id, jsonrpc.value({**result, "resultType": kind})), request.id)

    def _answer_found(self, request: Request, found: dict[str, Any] | ErrorObject, kind: str = "complete") -> None:
        if isinstance(found, ErrorObject):
            self.say(Error(request.id, found), request.id)
        else:
            self._answer(request, found, kind)

    def task_changed(self, task: Task) -> None:
        """A task is in another state than before."""
        tasks = self._machine.tasks
        if tasks is None or not tasks.telling or task.owner is not None:
            return
        for request_id, wanted in self._listens.items():
            if task.task_id in wanted.get("taskIds", ()):
                params = {**stateless_tasks.shown(task), "_meta": {_TAG: request_id}}
                self._transport.carry_back(Notification("notifications/tasks", jsonrpc.value(params)), request_id)

    def _list(self, request: Request, params: dict[str, Any]) -> None:
        at = int(params.get("cursor", "0"))
        page: dict[str, Any] = {"tools": [{"name": f"tool{at}"}], "ttlMs": 0, "cacheScope": "private"}
        if at + 1 < min(self._machine.tools, 4):
            page["nextCursor"] = str(at + 1)
        page["version"] = self._machine.tools
        self._answer(request, page)

    def _listen(self, request: Request, wanted: dict[str, Any]) -> None:
        self._listens[request.id] = wanted
        params = jsonrpc.value({"notifications": wanted, "_meta": {_TAG: request.id}})
        self.say(Notification("notifications/subscriptions/acknowledged", params), request.id)
        if self._machine.world.maybe(0.1):
            # It ends the stream when it likes.
            self._machine.world.later(30.0, self._end_listen, request)

    def _end_listen(self, request: Request) -> None:
        if self._listens.pop(request.id, None) is not None and not self._machine.silent:
            self._machine.unheard = max(self._machine.unheard, self._machine.world.clock.seconds())
            self._answer(request, {"_meta": {_TAG: request.id}})

    def _call(self, request: Request, params: dict[str, Any]) -> None:
        asked = params["arguments"]
        token = asked["token"]
        if params.get("requestState", "{").startswith("mcpbridge-"):
            # A call that was parked when another era was spoken; this server has never given that state.
            self.say(Error(request.id, ErrorObject(-32602, "Invalid requestState")), request.id)
            return
        state = json.loads(params["requestState"]) if "requestState" in params else {"token": token, "round": 0}
        if state["token"] != token:
            self._machine.world.wrong(f"the state of {state['token']} came with {token}")
        self._check(token, state["round"], params.get("inputResponses", {}))
        task = stateless_tasks.created(self._machine.tasks, params)
        if task is not None:
            if not isinstance(task, ErrorObject):
                self._machine.ledger[token] += 1
            self._answer_found(request, task, "task")
            return
        leg = state["round"] + 1
        self._machine.ledger[f"{token}#{leg}"] += 1
        if "progressToken" in params.get("_meta", {}):
            progress = {"progressToken": params["_meta"]["progressToken"], "progress": leg, "message": token}
            self.say(Notification("notifications/progress", jsonrpc.value(progress)), request.id)
        if asked["ask"] and leg <= ROUNDS:
            self._work[request.id] = token
            self._machine.world.later(1.0, self._ask, request, token, leg)
        else:
            self._machine.ledger[token] += 1
            self._begin(request, token, asked)

    def _check(self, token: str, round_: int, answers: dict[str, Any]) -> None:
        expected = {1: {"q"}, 2: {"q", "roots"}}.get(round_, set())
        if set(answers) != expected:
            self._machine.world.wrong(f"round {round_} of {token} was answered with {answers}")
        answer = answers.get("q", {})
        if answer.get("for", token) != token:
            self._machine.world.wrong(f"{token} was answered by {answer}")

    def _ask(self, request: Request, token: str, leg: int) -> None:
        if self._work.pop(request.id, None) is None or self._machine.silent:
            return
        question = {"method": "elicitation/create", "params": {"message": token}}
        questions = {1: {"q": question}, 2: {"q": question, "roots": {"method": "roots/list"}}}.get(leg, {})
        result: dict[str, Any] = {"requestState": json.dumps({"token": token, "round": leg})}
        if questions:
            result["inputRequests"] = questions
        self._answer(request, result, "input_required")

    def _begin(self, request: Request, token: str, asked: dict[str, Any]) -> None:
        self._work[request.id] = token
        if not asked.get("endless"):
            self._machine.world.later(3.0, self._finish, request, asked)

    def _finish(self, request: Request, asked: dict[str, Any]) -> None:
        if request.id not in self._work or self._machine.silent:
            return
        del self._work[request.id]
        if asked.get("fail"):
            self.say(Error(request.id, ErrorObject(-1, asked["token"])), request.id)
        else:
            self._answer(request, {"for": asked["token"], "big": 2**80})
