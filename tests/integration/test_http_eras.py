"""
The HTTP transport and both eras against real servers: the official Python SDK's, and a raw one that does what no SDK
would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Raw
from twisted.internet.task import deferLater

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, read, value
from mcpbridge.upstream.detect import TransportKind
from tests.integration import eras_peer
from tests.integration.test_http_upstream import (
    INITIALIZE,
    INITIALIZED,
    STREAM_HEAD,
    Conversation,
    Exchange,
    HTTPTestCase,
    json_answer,
    reactor,
    says,
    text_of,
    until,
)

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{}}'


def modern(request_id: int, method: str, **params: Any) -> Request:
    """A request of the stateless era."""
    meta = {**META, "progressToken": request_id} if method == "tools/call" else META
    return Request(request_id, method, value({**params, "_meta": meta}))


def call(request_id: int, tool: str, **arguments: Any) -> Request:
    """A call of a tool, with a progress token."""
    return modern(request_id, "tools/call", name=tool, arguments=arguments)


DISCOVER = modern(1000, "server/discover")


class ErasTestCase(HTTPTestCase):
    """Starts servers of one era, or of both."""

    async def of_era(self, kind: TransportKind, era: str, *options: str) -> Conversation:
        """A conversation with the SDK's server."""
        port = await self.serve(eras_peer.__file__, era, *options)
        conversation = self.converse(kind, f"http://127.0.0.1:{port}/mcp")
        await conversation.transport.connect(conversation.link)
        return conversation

    async def discovered(self, conversation: Conversation) -> None:
        """The server speaks the stateless era."""
        answer = await conversation.ask(DISCOVER)
        assert isinstance(answer, Result), answer
        self.assertIn("2026-07-28", read(answer.result)["supportedVersions"])


class OfficialSDKTests(ErasTestCase):
    """Both eras as the official Python SDK serves them."""

    async def _calls(self, era: str, *options: str) -> None:
        conversation = await self.of_era("auto", era, *options)
        await self.discovered(conversation)

        answers = [await conversation.ask(call(n, "echo", text=f"n{n}")) for n in range(1, 4)]

        self.assertEqual(["n1", "n2", "n3"], [text_of(answer) for answer in answers])
        self.assertEqual(["streamable-http"], conversation.found)

    async def test_modern_only(self) -> None:
        """
        A server that knows no sessions, with event streams and with plain JSON.
        """
        await self._calls("modern")
        await self._calls("modern", "json")

    async def test_dual(self) -> None:
        """
        A server that knows both.
        """
        await self._calls("dual")

    async def test_headers(self) -> None:
        """
        Arguments are said again in headers, whatever is in them, from the first call on; the server checks that.
        """
        conversation = await self.of_era("streamable-http", "modern")

        first = await conversation.ask(call(1, "where", region="eu", count=42))
        second = await conversation.ask(call(2, "where", region=" \u00e9\r\nX: y"))

        self.assertEqual("mcp-name=where mcp-param-region=eu mcp-param-count=42", text_of(first))
        self.assertEqual("mcp-name=where mcp-param-region==?base64?IMOpDQpYOiB5?=", text_of(second))

    async def test_headers_are_repaired(self) -> None:
        """
        If the list that was seen is not true any more, the refused call goes again.
        """
        conversation = await self.of_era("streamable-http", "modern")
        await conversation.ask(modern(1, "tools/list"))
        transport: Any = conversation.transport
        transport._modern.marks.learn(value({"tools": [{"name": "where", "inputSchema": {}}]}))

        answer = await conversation.ask(call(2, "where", region="eu"))

        self.assertEqual("mcp-name=where mcp-param-region=eu", text_of(answer))

    async def test_wrong_tools(self) -> None:
        """
        A tool that is marked against the rules is not in the list.
        """
        conversation = await self.of_era("streamable-http", "modern")

        answer = await conversation.ask(modern(1, "tools/list"))

        names = [tool["name"] for tool in read(answer.result)["tools"]]
        self.assertEqual(["echo", "where", "flood", "hang", "hung", "change"], names)

    async def test_flood(self) -> None:
        """
        20,000 notifications come in order, none is lost, and the answer comes after them; on their own request's
        stream.
        """
        conversation = await self.of_era("streamable-http", "modern")

        answer = await conversation.ask(call(1, "flood", count=20_000))

        self.assertEqual("done", text_of(answer))
        progress = [
            (read(message.params or Raw(b"{}"))["progress"], within)
            for message, within in conversation.notifications()
            if isinstance(message, Notification)
        ]
        self.assertEqual([(n, 1) for n in range(20_000)], progress)

    async def test_many_at_once(self) -> None:
        """
        A hundred calls at once, all before any list was seen, are all answered.
        """
        conversation = await self.of_era("streamable-http", "modern")

        for n in range(1, 101):
            conversation.transport.send(call(n, "where", region=str(n)))
        answers = [await conversation.outcome(n) for n in range(1, 101)]

        expected = [f"mcp-name=where mcp-param-region={n}" for n in range(1, 101)]
        self.assertEqual(expected, [text_of(answer) for answer in answers])

    async def test_abandoned(self) -> None:
        """
        The server sees that a call is not wanted any more.
        """
        conversation = await self.of_era("streamable-http", "modern")
        conversation.transport.send(call(1, "hang", name="one"))
        await until(conversation.notifications)

        conversation.transport.send(Notification("notifications/cancelled", value({"requestId": 1})))
        conversation.transport.abandon(1)
        given_up = ""
        for n in range(2, 200):
            given_up = text_of(await conversation.ask(call(n, "hung")))
            if given_up:
                break

        self.assertEqual("one", given_up)

    async def test_subscription(self) -> None:
        """
        A subscription hears of changes while calls go on.
        """
        conversation = await self.of_era("streamable-http", "dual")
        conversation.transport.send(modern(1, "subscriptions/listen", notifications={"toolsListChanged": True}))
        await until(conversation.notifications)

        await conversation.ask(call(2, "change"))
        await until(lambda: len(conversation.notifications()) == 2)

        heard = [(message.method, within) for message, within in conversation.notifications()]  # type: ignore[union-attr]  # all have one
        self.assertEqual(
            [("notifications/subscriptions/acknowledged", 1), ("notifications/tools/list_changed", 1)], heard
        )

    async def test_errors(self) -> None:
        """
        What the server refuses comes as its own error, whatever the status.
        """
        conversation = await self.of_era("streamable-http", "dual")
        unknown = {**META, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
        nobody = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}

        errors = [
            await conversation.ask(modern(1, "own/method")),
            await conversation.ask(Request(2, "tools/list", value({"_meta": unknown}))),
            await conversation.ask(Request(3, "tools/list", value({"_meta": nobody}))),
            await conversation.ask(modern(4, "tools/call", name=5)),
        ]

        codes = [(each.id, each.error.code) for each in errors]
        self.assertEqual([(1, -32601), (2, -32022), (3, -32602), (4, -32020)], codes)


class NegotiationTests(ErasTestCase):
    """One conversation, and a server of an era that is not known."""

    async def _session(self, conversation: Conversation) -> None:
        answer = await conversation.ask(INITIALIZE)
        assert isinstance(answer, Result), answer
        conversation.transport.send(INITIALIZED)
        params = {"name": "echo", "arguments": {"text": "hello"}}
        answer = await conversation.ask(Request(50, "tools/call", value(params)))
        self.assertEqual("hello", text_of(answer))

    async def test_legacy_server(self) -> None:
        """
        A server of the session era opens a session over C{server/discover}, refuses it all the same, and is not
        disturbed by that; nor is the question which transport it speaks.
        """
        kinds: tuple[TransportKind, ...] = ("auto", "streamable-http")
        for kind in kinds:
            conversation = await self.of_era(kind, "legacy")

            refused = await conversation.ask(DISCOVER)

            self.assertEqual((1000, -32600), (refused.id, refused.error.code))
            await self._session(conversation)

    async def test_modern_server(self) -> None:
        """
        The other way round: C{initialize} is refused, and then C{server/discover} is not.
        """
        kinds: tuple[TransportKind, ...] = ("auto", "streamable-http")
        for kind in kinds:
            conversation = await self.of_era(kind, "modern")

            refused = await conversation.ask(INITIALIZE)
            await self.discovered(conversation)

            self.assertIsInstance(refused, Error)
            self.assertEqual("x", text_of(await conversation.ask(call(1, "echo", text="x"))))

    async def test_both(self) -> None:
        """
        With a server of both, requests of either era go each by its own rules.
        """
        conversation = await self.of_era("auto", "dual")
        await self._session(conversation)

        answer = await conversation.ask(call(1, "where", region="eu"))
        again = await conversation.ask(Request(51, "ping"))

        self.assertEqual("mcp-name=where mcp-param-region=eu", text_of(answer))
        self.assertIsInstance(again, Result)


class FaultTests(ErasTestCase):
    """What a hostile server, or a bad day of a good one, makes of a request. Each is told within a second."""

    async def _outcome_of(self, *answers: Callable[[Exchange], None], limits: HTTPLimits | None = None) -> Any:
        server = self.raw(*answers)
        conversation = self.converse("streamable-http", server.url, limits or HTTPLimits())
        await conversation.transport.connect(conversation.link)
        began = reactor.seconds()
        outcome = await conversation.ask(modern(1, "prompts/get", name="p"), 2.0)
        self.assertLess(reactor.seconds() - began, 1.0)
        self.assertEqual(1, len(server.requests))
        return outcome

    async def test_lost(self) -> None:
        """
        Every way not to answer, twice each: it is told what may have become of the request, and it is not repeated.
        """
        event = b"id: 1\ndata: "
        table: list[tuple[Callable[[Exchange], None], Fate, Reason]] = [
            (Exchange.drop, Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (says(STREAM_HEAD, end=True), Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (says(STREAM_HEAD + event + RESULT[:-3], end=True), Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (says(STREAM_HEAD + b"retry: 1\nid: 1\ndata:\n\n", end=True), Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (says(json_answer(RESULT)[:-5], end=True), Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (says(json_answer(RESULT[:-3])), Fate.FAILED, Reason.MALFORMED),
            (says(json_answer(b"[%b]" % RESULT)), Fate.FAILED, Reason.MALFORMED),
            (says(json_answer(b'"a string"')), Fate.FAILED, Reason.MALFORMED),
            (says(json_answer(b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000)), Fate.FAILED, Reason.MALFORMED),
            (says(json_answer(b"\xff\xfe")), Fate.FAILED, Reason.MALFORMED),
            (says(json_answer(RESULT.replace(b"1", b"2"))), Fate.FAILED, Reason.MALFORMED),
            (says(b"\x00\xff\x15\x03\x01" * 50), Fate.FAILED, Reason.MALFORMED),
            (says(b"HTTP/1.1 204 No Content\r\n\r\n"), Fate.FAILED, Reason.MALFORMED),
            (says(json_answer(b"", b"404 Not Found")), Fate.FAILED, Reason.UPSTREAM_UNREACHABLE),
            (says(json_answer(b"", b"500 Oh")), Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (says(json_answer(b"", b"401 Who")), Fate.REJECTED, Reason.AUTH_REQUIRED),
        ]
        for answer, fate, reason in table * 2:
            loss = await self._outcome_of(answer)
            assert isinstance(loss, Loss), loss
            self.assertEqual((fate, reason), (loss.fate, loss.reason), loss.text)

    async def test_too_large(self) -> None:
        """
        Answers without an end in sight are not read to theirs.
        """
        limits = HTTPLimits(max_message=100_000)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
        for answer in (head + b"x" * 300_000, STREAM_HEAD + b"data: " + b"x" * 300_000):
            loss = await self._outcome_of(says(answer), limits=limits)
            self.assertEqual((Fate.FAILED, Reason.MALFORMED), (loss.fate, loss.reason))

    async def test_answered_all_the_same(self) -> None:
        """
        Noise round the answer is no harm.
        """
        noise = b": ping\n\n" * 1000 + b"event: own\ndata: {}\n\ndata: {not json\n\ndata: \x00\xff\n\n"
        strangers = b'data: {"jsonrpc":"2.0","id":2,"result":{}}\n\ndata: {"jsonrpc":"2.0","id":5,"method":"ping"}\n\n'
        right = b"data: " + RESULT + b"\n\n"

        answer = await self._outcome_of(says(STREAM_HEAD + noise + strangers + right + right + noise, end=True))

        self.assertEqual(Result(1, Raw(b"{}")), answer)

    async def test_lists_never_come(self) -> None:
        """
        A server that does not say what it wants in headers gets calls without.
        """
        limits = HTTPLimits(survey_deadline=0.2)
        server = self.raw(says(STREAM_HEAD), says(json_answer(RESULT)))
        conversation = self.converse("streamable-http", server.url, limits)
        await conversation.transport.connect(conversation.link)

        answer = await conversation.ask(call(1, "t", a="x"), 2.0)

        self.assertEqual(Result(1, Raw(b"{}")), answer)
        self.assertEqual(["tools/list", "tools/call"], [read(body)["method"] for _, body in server.requests])
        await until(lambda: server.exchanges[0].closed, 2.0)

    async def test_subscription_breaks(self) -> None:
        """
        The end of a subscription is told, and it is not repeated by itself.
        """
        server = self.raw(says(STREAM_HEAD + b": hello\n\n"))
        conversation = self.converse("streamable-http", server.url)
        await conversation.transport.connect(conversation.link)
        conversation.transport.send(modern(1, "subscriptions/listen", notifications={}))
        await until(lambda: server.requests)

        server.exchanges[0].drop()
        loss = await conversation.outcome(1, 2.0)
        await deferLater(reactor, 0.05)

        self.assertEqual(Fate.UNKNOWN, loss.fate)
        self.assertEqual(1, len(server.requests))
