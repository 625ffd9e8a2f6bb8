"""
The client's side of a session with the official Python SDK: it keeps what the server says and answers what it asks.
"""

import base64
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from tests.integration.sdk_generation import MCPError, types

if TYPE_CHECKING:
    from mcp import Client
    from mcp.shared.dispatcher import CallOptions

Outcome = Any
Scenario = Callable[["Peer"], Awaitable[Outcome]]

SCENARIO_DEADLINE = 10.0
"""Seconds for one feature; a feature that is lost shows as this long a wait."""

_VARYING = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<hex>"),
    (re.compile(r"\d{1,2}:\d\d:\d\d( [AP]M)?"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\dT<time>\.\d+Z"), "<instant>"),
]


class RawNotification(types.Notification[dict[str, Any] | None, str]):
    """A notification with any method."""


def plain(thing: Any) -> Any:
    """What a model says on the wire."""
    return thing.model_dump(by_alias=True, mode="json", exclude_none=True)


def steady(thing: Any) -> Any:
    """The same with what differs from run to run made equal: session ids, times of the day."""
    if isinstance(thing, dict):
        thing = {key: value for key, value in thing.items() if not key.startswith("io.modelcontextprotocol/")}
        if thing.get("_meta") == {} or list(thing.get("_meta") or ()) == ["io.modelcontextprotocol/serverInfo"]:
            del thing["_meta"]  # the modern era stamps the server's name on every result
        if isinstance(blob := thing.get("blob"), str):
            thing = {**thing, "blob": base64.b64decode(blob).decode("latin-1")}
        return {key: steady(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [steady(value) for value in thing]
    if isinstance(thing, str):
        for pattern, word in _VARYING:
            thing = pattern.sub(word, thing)
    return thing


class Peer:
    """
    One connected client, all that the server said to it, and what it answers.

    @ivar asked: the server's requests, in order: method and parameters.
    @ivar told: its notifications, in order: method and parameters.
    """

    client: "Client"

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.told: list[tuple[str, Any]] = []
        self.action = "accept"
        self.content: dict[str, Any] | None = {"name": "Ada", "check": True}
        self.roots = ["file:///one", "file:///two"]

    async def on_sampling(self, context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.asked.append(("sampling/createMessage", plain(params)))
        content = {"type": "text", "text": "a sample"}
        return types.CreateMessageResult.model_validate(
            {"role": "assistant", "content": content, "model": "model-1", "stopReason": "endTurn"}
        )

    async def on_elicitation(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(("elicitation/create", plain(params)))
        content = self.content if self.action == "accept" and getattr(params, "mode", "form") != "url" else None
        return types.ElicitResult(action=self.action, content=content)  # type: ignore[arg-type]  # three words fit

    async def on_roots(self, context: Any) -> types.ListRootsResult:
        self.asked.append(("roots/list", None))
        return types.ListRootsResult(roots=[types.Root(uri=uri, name=uri[8:]) for uri in self.roots])  # type: ignore[arg-type]  # pydantic reads it

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.told.append(("log", plain(params)))

    async def on_message(self, message: Any) -> None:
        if not isinstance(message, Exception) and not isinstance(message, types.LoggingMessageNotification):
            self.told.append((message.method, plain(message.params) if message.params else None))

    # What scenarios do

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool: its whole result."""
        return plain(await self.client.call_tool(tool, arguments))

    async def raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Send any request: its whole result, unjudged."""
        # The public way holds the results of the methods it knows against models that are not those of tasks.
        session = self.client.session
        data: dict[str, Any] = {"method": method, **({} if params is None else {"params": dict(params)})}
        options: CallOptions = {}
        session._stamp(data, options)  # what each request carries in the modern era
        return await session._dispatcher.send_raw_request(method, data.get("params"), options)

    async def until(self, happened: Callable[[], Any]) -> Any:
        """Wait for something to become true: what it then is."""
        while not (value := happened()):
            await anyio.sleep(0.01)
        return value

    def heard(self, method: str, since: int = 0) -> list[Any]:
        """The parameters of all notifications of a method, from a position in L{told} on."""
        return [params for name, params in self.told[since:] if name == method]

    async def all_pages(self, kind: str) -> list[Any]:
        """A whole list, over all its pages."""
        fetch = getattr(self.client, f"list_{kind}")
        member = {"resource_templates": "resource_templates"}.get(kind, kind)
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = await fetch(cursor=cursor)
            found += [plain(item) for item in getattr(page, member)]
            cursor = page.next_cursor
            if cursor is None:
                return found


async def outcome(scenario: Scenario, peer: Peer) -> Outcome:
    """What came of a scenario; an error is an outcome too."""
    try:
        with anyio.fail_after(SCENARIO_DEADLINE):
            return await scenario(peer)
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message, "data": error.error.data}}
    except TimeoutError:
        return {"error": "no end in sight"}
    except Exception as error:  # noqa: BLE001 - any error is an outcome, and compared
        return {"error": f"{type(error).__name__}: {error}"}
