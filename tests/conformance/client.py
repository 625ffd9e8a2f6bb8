"""
A client of one revision, whichever of the five, that says and hears raw messages.

All that it hears is held against the official types of its revision. It answers what it is asked, in both eras:
requests
of the server in the session era, C{input_required} in the stateless era.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp_types import methods
from pydantic import ValidationError

from tests.conformance.task_shapes import RESULTS
from tests.conformance.wires import META, MODERN, Message, Wire

DEADLINE = 15.0
"""Seconds for one answer. A Python server's first start takes one; the machine may be busy."""

_MAX_ROUNDS = 8

Answer = Callable[[str, Mapping[str, Any]], Any]


class Refused(Exception):
    """The answer was an error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = error.get("code")
        self.data = error.get("data")


def accept(method: str, params: Mapping[str, Any]) -> Any:
    """What a friendly user says to every question, by its method."""
    if method == "sampling/createMessage":
        return {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "test"}
    if method == "roots/list":
        return {"roots": [{"uri": "file:///here", "name": "here"}]}
    if params.get("mode") == "url":
        return {"action": "accept"}
    properties = params.get("requestedSchema", {}).get("properties", {})
    kinds = {"string": "Alice", "boolean": True, "integer": 3, "number": 1.5, "array": []}
    return {
        "action": "accept",
        "content": {name: field.get("default", kinds[field["type"]]) for name, field in properties.items()},
    }


class Client:
    """
    One conversation.

    @ivar counterpart: the revision of the server behind the bridge, where that matters.
    @ivar heard: every notification, in order.
    @ivar asked: the methods of the questions that were answered.
    @ivar questions: those of them that were requests of their own.
    @ivar invalid: what was heard that the revision does not allow.
    """

    def __init__(
        self, wire: Wire, version: str, capabilities: Mapping[str, Any] | None = None, answer: Answer = accept
    ) -> None:
        self.wire = wire
        self.version = version
        self.capabilities = capabilities if capabilities is not None else capabilities_of(version)
        self.counterpart = ""
        self.heard: list[Message] = []
        self.asked: list[str] = []
        self.questions: list[Message] = []
        self.invalid: list[str] = []
        self.opening: Mapping[str, Any] = {}
        self._answer = answer
        self._ids = itertools.count(1)
        self._open: dict[Any, tuple[str, asyncio.Future[Message]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    @property
    def modern(self) -> bool:
        """Of the stateless era."""
        return self.version == MODERN

    async def __aenter__(self) -> "Client":
        await self.wire.open(self._take)
        if self.modern:
            self.opening = await self.request("server/discover")
            return self
        self.opening = await self.request(
            "initialize",
            {
                "protocolVersion": self.version,
                "capabilities": self.capabilities,
                "clientInfo": {"name": "matrix", "version": "1"},
            },
        )
        await self.notify("notifications/initialized")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.wire.close()

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Say something that wants no answer."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        await self.wire.send(message)

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> Any:
        """
        Ask, and answer whatever the server wants to know before.

        @return: the result.
        @raise Refused: an error.
        """
        params = dict(params or {})
        for _ in range(_MAX_ROUNDS):
            result = await self.once(method, params, meta)
            if result.get("resultType") != "input_required":
                return result
            params.pop("requestState", None)
            responses: dict[str, Any] = {}
            for key, question in result.get("inputRequests", {}).items():
                self.asked.append(question["method"])
                responses[key] = self._answer(question["method"], question.get("params", {}))
            params["inputResponses"] = responses
            if "requestState" in result:
                params["requestState"] = result["requestState"]
        raise AssertionError(f"{method} wants more than {_MAX_ROUNDS} rounds of questions")

    async def once(
        self, method: str, params: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> Any:
        """One request and its result, whatever that is."""
        _, answer = await self.ask(method, params, meta)
        message = await asyncio.wait_for(answer, DEADLINE)
        if "error" in message:
            raise Refused(message["error"])
        return message["result"]

    async def ask(
        self, method: str, params: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> tuple[int, "asyncio.Future[Message]"]:
        """
        Send a request.

        @return: its id, and what will be the message that answers it.
        """
        number = next(self._ids)
        message = self.message(number, method, params, meta)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._open[number] = (method, future)
        await self.wire.send(message)
        return number, future

    def message(
        self, number: int, method: str, params: Mapping[str, Any] | None, meta: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """A request as this revision writes it."""
        sent = dict(params or {})
        about = dict(meta or {})
        if self.modern:
            about = {
                f"{META}protocolVersion": self.version,
                f"{META}clientInfo": {"name": "matrix", "version": "1"},
                f"{META}clientCapabilities": self.capabilities,
                **about,
            }
        if about:
            sent["_meta"] = about
        return {"jsonrpc": "2.0", "id": number, "method": method, "params": sent}

    async def batch(self, *requests: tuple[str, Mapping[str, Any] | None]) -> list[Any]:
        """Send several requests as one. Revision 2025-03-26 only."""
        messages, futures = [], []
        for method, params in requests:
            number = next(self._ids)
            future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            self._open[number] = (method, future)
            messages.append(self.message(number, method, params, None))
            futures.append(future)
        await self.wire.send(messages)
        return list(await asyncio.wait_for(asyncio.gather(*futures), DEADLINE))

    async def cancel(self, request_id: int) -> None:
        """Give a request up, as the revision and the transport have it."""
        self._open.pop(request_id)
        if not self.wire.drop(request_id):
            await self.notify("notifications/cancelled", {"requestId": request_id, "reason": "enough"})

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """
        Wait for something that is heard.

        @raise AssertionError: it was not, in time.
        """
        try:
            async with asyncio.timeout(DEADLINE):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what}; heard {[message['method'] for message in self.heard]}") from None

    def count(self, method: str) -> int:
        """How many notifications of this method were heard."""
        return sum(message["method"] == method for message in self.heard)

    # What comes.

    def _take(self, message: Message) -> None:
        for each in message if isinstance(message, list) else [message]:
            self._take_one(each)
        self._news.set()

    def _take_one(self, message: Message) -> None:
        if "method" not in message:
            method, future = self._open.pop(message.get("id"), ("", None))
            if future is not None:
                self._validate_result(method, message)
                if not future.done():
                    future.set_result(message)
            return
        if "id" not in message:
            self._validate(methods.parse_server_notification, message)
            self.heard.append(message)
            return
        self._validate(methods.parse_server_request, message)
        task = asyncio.create_task(self._reply(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, question: Message) -> None:
        if question["method"] == "ping":
            await self.wire.send({"jsonrpc": "2.0", "id": question["id"], "result": {}})
            return
        self.asked.append(question["method"])
        self.questions.append(question)
        found = self._answer(question["method"], question.get("params", {}))
        if isinstance(found, Awaitable):
            found = await found
        await self.wire.send({"jsonrpc": "2.0", "id": question["id"], "result": found})

    def _validate(self, parse: Callable[..., object], message: Message) -> None:
        try:
            parse(message["method"], self.version, message.get("params"))
        except KeyError:
            self.invalid.append(f"{message['method']} is not in {self.version}")
        except (ValidationError, ValueError) as error:
            self.invalid.append(f"{message['method']}: {error}")

    def _validate_result(self, method: str, message: Message) -> None:
        if "result" not in message:
            return
        try:
            methods.validate_server_result(method, self.version, message["result"], surface=RESULTS)
        except KeyError:
            pass  # A method of nobody's.
        except (ValidationError, ValueError) as error:
            self.invalid.append(f"result of {method}: {error}")


def capabilities_of(version: str) -> dict[str, Any]:
    """Everything that a client of this revision can declare."""
    can: dict[str, Any] = {"roots": {}, "sampling": {}}
    if version != MODERN:
        can["roots"] = {"listChanged": True}
    if version >= "2025-06-18":
        can["elicitation"] = {}
    if version >= "2025-11-25":
        can["elicitation"] = {"form": {}, "url": {}}
    return can
