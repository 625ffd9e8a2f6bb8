"""
The HTTP transports against real servers: the official Python SDK's, and a raw one that does what no SDK would.
"""

from __future__ import annotations

import gzip
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Raw
from OpenSSL import crypto
from twisted.internet import reactor as _reactor  # noqa: TID251  # the one that trial runs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Message, Notification, Request, Result, read, value
from mcpbridge.net.agent import HTTPClient, PreparedURL, http_client
from mcpbridge.upstream.detect import TransportKind, http_transport
from tests.integration import http_peer
from tests.upstream.recordinglink import RecordingLink

reactor: Any = _reactor

#: Seconds until a test must have seen what it waits for. An SDK server takes some to be imported.
_DEADLINE = 30.0

_LIMITS = HTTPLimits()

INITIALIZE = Request(
    0,
    "initialize",
    value({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}),
)
INITIALIZED = Notification("notifications/initialized")


def call(request_id: int, tool: str, **arguments: Any) -> Request:
    """A C{tools/call} with a progress token."""
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": request_id}}
    return Request(request_id, "tools/call", value(params))


def text_of(message: Message) -> str:
    """The text of a tool's result."""
    assert isinstance(message, Result), message
    text: str = read(message.result)["content"][0]["text"]
    return text


async def until(condition: Callable[[], Any], seconds: float = _DEADLINE) -> Any:
    """Look again and again."""
    end = reactor.seconds() + seconds
    while not (found := condition()):
        if reactor.seconds() > end:
            raise TimeoutError(f"not seen within {seconds:g} s")
        await deferLater(reactor, 0.005)
    return found


class Conversation:
    """A transport, and what its link was told."""

    def __init__(self, kind: TransportKind, url: str, limits: HTTPLimits, client: HTTPClient | None) -> None:
        self.found: list[str] = []
        self.link = RecordingLink()
        self.transport = http_transport(
            kind,
            reactor,
            client or http_client(reactor),
            url,
            {},
            limits=limits,
            random=random.Random(0).random,
            found=self.found.append,
        )

    async def ask(self, request: Request, seconds: float = _DEADLINE) -> Any:
        """Send a request; its answer, or its loss."""
        self.transport.send(request)
        return await self.outcome(request.id, seconds)

    async def outcome(self, request_id: Any, seconds: float = _DEADLINE) -> Any:
        """The answer to a request, or its loss."""

        def found() -> Any:
            for name, *rest in self.link.told:
                if name == "received" and getattr(rest[0], "method", None) is None and rest[0].id == request_id:
                    return rest[0]
                if name == "request_lost" and rest[0] == request_id:
                    return rest[1]
            return None

        return await until(found, seconds)

    async def open(self) -> None:
        """The handshake."""
        await self.transport.connect(self.link)
        answer = await self.ask(INITIALIZE)
        assert isinstance(answer, Result), answer
        self.transport.send(INITIALIZED)

    def notifications(self) -> list[tuple[Message, Any]]:
        """What came that was no answer."""
        return [(told[1], told[2]) for told in self.link.told if isinstance(told[1], Notification)]


@implementer(IAgent)
class SessionSpy:
    """Sees the session id go by."""

    def __init__(self, agent: IAgent) -> None:
        self.session_id = b""
        self._agent = agent

    def request(self, *args: Any, **kwargs: Any) -> Deferred[IResponse]:
        """Pass it on."""
        return self._agent.request(*args, **kwargs).addCallback(self._note)

    def _note(self, response: IResponse) -> IResponse:
        [self.session_id] = response.headers.getRawHeaders(b"Mcp-Session-Id") or [self.session_id]
        return response


class _Server(ProcessProtocol):
    def __init__(self) -> None:
        self.port: Deferred[int] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self._heard = b""

    def outReceived(self, data: bytes) -> None:
        self._heard += data
        if b"\n" in self._heard and not self.port.called:
            self.port.callback(int(self._heard.partition(b"\n")[0]))

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class HTTPTestCase(TestCase):
    """Starts servers, and sees that nothing is left of them."""

    timeout = 2 * _DEADLINE

    async def peer(self, mode: str) -> str:
        """Start the SDK's server; its URL."""
        port = await self.serve(http_peer.__file__, mode)
        return f"http://127.0.0.1:{port}/{'sse' if mode == 'sse' else 'mcp'}"

    async def serve(self, script: str, *options: str) -> int:
        """Start a script that prints its port; the port."""
        server = _Server()
        arguments = [sys.executable, script, *options]
        process = reactor.spawnProcess(server, sys.executable, arguments, env=None, childFDs={1: "r", 2: 2})

        async def stop() -> None:
            process.signalProcess("KILL")
            await server.ended

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return await server.port.addTimeout(_DEADLINE, reactor)

    def converse(
        self, kind: TransportKind, url: str, limits: HTTPLimits = _LIMITS, client: HTTPClient | None = None
    ) -> Conversation:
        """A transport that is disconnected at the end."""
        conversation = Conversation(kind, url, limits, client)
        self.addCleanup(conversation.transport.disconnect)
        return conversation

    def raw(self, *answers: Callable[[Exchange], None]) -> RawServer:
        """Start a server that answers its requests with these, in order; the last one answers all that follow."""
        server = RawServer(answers)
        port = reactor.listenTCP(0, server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        server.url = f"http://127.0.0.1:{port.getHost().port}/mcp"
        return server


class Exchange(Protocol):
    """One connection of the raw server."""

    def __init__(self, server: RawServer) -> None:
        self.server = server

    def connectionMade(self) -> None:
        """A client came."""
        self.buffer = b""
        self.requests: list[tuple[bytes, bytes]] = []
        self.closed = False
        self.server.exchanges.append(self)

    def dataReceived(self, data: bytes) -> None:
        """Take complete requests, answer each."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                name, _, text = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(text)
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.requests.append((head, rest[:length]))
            self.server.requests.append((head, rest[:length]))
            self.server.answer(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client went."""
        self.closed = True

    def write(self, data: bytes) -> None:
        """Say something."""
        assert self.transport is not None
        self.transport.write(data)

    def drop(self) -> None:
        """Hang up, rudely."""
        transport: Any = self.transport
        transport.abortConnection()

    def end(self) -> None:
        """Hang up, after all is written."""
        assert self.transport is not None
        self.transport.loseConnection()


class RawServer(Factory):
    """A server that does as it is told."""

    noisy = False

    def __init__(self, answers: tuple[Callable[[Exchange], None], ...]) -> None:
        self.url = ""
        self.answers = list(answers)
        self.exchanges: list[Exchange] = []
        self.requests: list[tuple[bytes, bytes]] = []

    def buildProtocol(self, addr: Any) -> Any:
        """A client comes."""
        return Exchange(self)

    def answer(self, exchange: Exchange) -> None:
        """Answer the request that has just come."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(exchange)


def says(data: bytes, *, end: bool = False) -> Callable[[Exchange], None]:
    """An answer."""

    def answer(exchange: Exchange) -> None:
        exchange.write(data)
        if end:
            exchange.end()

    return answer


def json_answer(body: bytes, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    """A whole JSON response."""
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b" % (
        status,
        len(body),
        extra,
        body,
    )


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{}}'


class OfficialSDKTests(HTTPTestCase):
    """The session era as the official Python SDK serves it."""

    async def _session(self, kind: TransportKind, mode: str, found: list[str]) -> Conversation:
        conversation = self.converse(kind, await self.peer(mode))
        await conversation.open()

        answers = [await conversation.ask(call(n, "echo", text=f"n{n}")) for n in range(1, 4)]

        self.assertEqual(["n1", "n2", "n3"], [text_of(answer) for answer in answers])
        self.assertEqual(found, conversation.found)
        return conversation

    async def test_stream(self) -> None:
        """
        Streamable HTTP with event streams: a session, calls, and its end.
        """
        await self._session("streamable-http", "stream", [])

    async def test_json(self) -> None:
        """
        The same with plain JSON answers.
        """
        await self._session("auto", "json", ["streamable-http"])

    async def test_sse(self) -> None:
        """
        HTTP+SSE, as configured.
        """
        await self._session("sse", "sse", [])

    async def test_sse_is_found_out(self) -> None:
        """
        A URL that only speaks HTTP+SSE is found out, and the same C{initialize} is answered.
        """
        await self._session("auto", "sse", ["sse"])

    async def test_session_is_over_after_disconnect(self) -> None:
        """
        The server has forgotten the session when C{disconnect} is done: its id gets 404.
        """
        spies: list[SessionSpy] = []

        def spy(agent: IAgent) -> IAgent:
            spies.append(SessionSpy(agent))
            return spies[0]

        url = await self.peer("stream")
        conversation = self.converse("streamable-http", url, client=http_client(reactor, decorate=spy))
        await conversation.open()

        await conversation.transport.disconnect()
        client = http_client(reactor)
        self.addCleanup(client.close)
        headers = Headers({b"Mcp-Session-Id": [spies[0].session_id], b"Accept": [b"text/event-stream"]})
        response: Any = await client.perform("GET", PreparedURL.prepare(url), headers, None, reactor)

        self.assertEqual(404, response.code)

    async def test_flood(self) -> None:
        """
        20,000 notifications come in order, none is lost, and the answer comes after them; on their own request's
        stream.
        """
        conversation = self.converse("streamable-http", await self.peer("stream"))
        await conversation.open()

        answer = await conversation.ask(call(1, "flood", count=20_000))

        self.assertEqual("done", text_of(answer))
        progress = [
            (read(message.params or Raw(b"{}"))["progress"], within)
            for message, within in conversation.notifications()
            if isinstance(message, Notification)
        ]
        self.assertEqual([(n, 1) for n in range(20_000)], progress)

    async def test_large_answer(self) -> None:
        """
        10 MB come through.
        """
        conversation = self.converse("streamable-http", await self.peer("stream"))
        await conversation.open()

        answer = await conversation.ask(call(1, "large", size=10_000_000))

        self.assertEqual(10_000_000, len(text_of(answer)))

    async def test_large_request(self) -> None:
        """
        So do 3 MB the other way.
        """
        conversation = self.converse("streamable-http", await self.peer("json"))
        await conversation.open()

        answer = await conversation.ask(call(1, "echo", text="y" * 3_000_000))

        self.assertEqual(3_000_000, len(text_of(answer)))

    async def test_polling(self) -> None:
        """
        A server that hangs up before it answers is asked for the rest, with the id of the last event.
        """
        conversation = self.converse("streamable-http", await self.peer("polling"))
        await conversation.open()
        began = reactor.seconds()

        answer = await conversation.ask(call(1, "poll"))

        self.assertEqual("polled", text_of(answer))
        self.assertGreaterEqual(reactor.seconds() - began, http_peer.RETRY / 1000)

    async def test_many_at_once(self) -> None:
        """
        A hundred calls at once are all answered.
        """
        conversation = self.converse("streamable-http", await self.peer("stream"))
        await conversation.open()

        for n in range(1, 101):
            conversation.transport.send(call(n, "echo", text=str(n)))
        answers = [await conversation.outcome(n) for n in range(1, 101)]

        self.assertEqual([str(n) for n in range(1, 101)], [text_of(answer) for answer in answers])


class FaultTests(HTTPTestCase):
    """What a hostile server, or a bad day of a good one, makes of a request. Each is told within a second."""

    async def _answer_to(self, *answers: Callable[[Exchange], None], limits: HTTPLimits = _LIMITS) -> Any:
        server = self.raw(*answers)
        conversation = self.converse("streamable-http", server.url, limits)
        await conversation.transport.connect(conversation.link)
        return await conversation.ask(call(1, "echo"), 2.0)

    async def _lost(self, fate: Fate, reason: Reason, *answers: Callable[[Exchange], None], **more: Any) -> Loss:
        loss = await self._answer_to(*answers, **more)
        self.assertIsInstance(loss, Loss)
        self.assertEqual((fate, reason), (loss.fate, loss.reason), loss.text)
        return loss  # type: ignore[no-any-return]  # It has just been looked at.

    async def test_refused(self) -> None:
        """
        Nobody listens.
        """
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        url = f"http://127.0.0.1:{port.getHost().port}/mcp"
        await port.stopListening()
        conversation = self.converse("streamable-http", url)
        await conversation.transport.connect(conversation.link)

        loss = await conversation.ask(call(1, "echo"), 2.0)

        self.assertEqual((Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE), (loss.fate, loss.reason))
        self.assertIn("Connection refused", loss.text)

    async def test_reset_after_request(self) -> None:
        """
        The connection is reset when the request has arrived: it may have run.
        """
        await self._lost(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, Exchange.drop)

    async def test_closed_without_a_word(self) -> None:
        """
        The same in good order.
        """
        await self._lost(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, Exchange.end)

    async def test_truncated_body(self) -> None:
        """
        A body that is shorter than announced.
        """
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n" + RESULT
        await self._lost(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, says(answer, end=True))

    async def test_broken_chunk(self) -> None:
        """
        Chunks that are none.
        """
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        await self._lost(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, says(answer))

    async def test_truncated_stream(self) -> None:
        """
        An event stream without ids that ends too early.
        """
        await self._lost(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, says(STREAM_HEAD + b"data: {\n", end=True))

    async def test_no_http(self) -> None:
        """
        Another protocol.
        """
        await self._lost(Fate.FAILED, Reason.MALFORMED, says(b"SSH-2.0-OpenSSH_9.2\r\n"))

    async def test_binary_garbage(self) -> None:
        """
        No protocol.
        """
        await self._lost(Fate.FAILED, Reason.MALFORMED, says(b"\x00\xff\x15\x03\x01" * 50))

    async def test_switching_protocols(self) -> None:
        """
        101, after which no HTTP follows.
        """
        await self._lost(Fate.FAILED, Reason.MALFORMED, says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"))

    async def test_endless_head(self) -> None:
        """
        Header fields without end.
        """
        answer = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: yes\r\n" * 10_000
        loss = await self._lost(Fate.FAILED, Reason.MALFORMED, says(answer))
        self.assertIn("200 header fields", loss.text)

    async def test_endless_header_line(self) -> None:
        """
        One header line without end.
        """
        loss = await self._lost(Fate.FAILED, Reason.MALFORMED, says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000))
        self.assertIn("longer than", loss.text)

    async def test_body_too_large(self) -> None:
        """
        A body over the limit is not read to its end; the connection is closed at once.
        """
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
        server = self.raw(says(head + b"x" * 300_000))
        conversation = self.converse("streamable-http", server.url, HTTPLimits(max_message=100_000))
        await conversation.transport.connect(conversation.link)

        loss = await conversation.ask(call(1, "echo"), 2.0)
        await until(lambda: server.exchanges[0].closed, 2.0)

        self.assertEqual((Fate.FAILED, Reason.MALFORMED), (loss.fate, loss.reason))
        self.assertIn("at most 100000 are taken", loss.text)

    async def test_event_too_large(self) -> None:
        """
        An event over the limit.
        """
        limits = HTTPLimits(max_message=100_000)
        answer = STREAM_HEAD + b"data: " + b"x" * 300_000
        await self._lost(Fate.FAILED, Reason.MALFORMED, says(answer), limits=limits)

    async def test_empty_answers(self) -> None:
        """
        202, 204, and a 200 without a body are no answer, and none can come any more.
        """
        for status in (b"202 Accepted", b"204 No Content", b"200 OK"):
            answer = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n" % status
            await self._lost(Fate.FAILED, Reason.MALFORMED, says(answer))

    async def test_not_modified(self) -> None:
        """
        Nor is 304.
        """
        await self._lost(Fate.FAILED, Reason.MALFORMED, says(b"HTTP/1.1 304 Not Modified\r\n\r\n"))

    async def test_page(self) -> None:
        """
        Nor is a page for a browser.
        """
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
        loss = await self._lost(Fate.FAILED, Reason.MALFORMED, says(answer))
        self.assertIn("text/html", loss.text)

    async def test_interim_responses(self) -> None:
        """
        100 and 103 are skipped.
        """
        answer = await self._answer_to(
            says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + json_answer(RESULT))
        )
        self.assertEqual(Result(1, Raw(b"{}")), answer)

    async def test_stale_connections(self) -> None:
        """
        A server that hangs up after each answer without saying so makes no request fail: a connection that it has
        left is not used again.
        """

        def answer(exchange: Exchange) -> None:
            request_id = server.requests[-1][1].partition(b'"id":')[2].partition(b",")[0]
            exchange.write(json_answer(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % request_id))
            exchange.end()

        server = self.raw(answer)
        conversation = self.converse("streamable-http", server.url)
        await conversation.transport.connect(conversation.link)

        answers = [await conversation.ask(call(n, "echo"), 2.0) for n in range(100)]

        self.assertEqual([Result(n, Raw(b"{}")) for n in range(100)], answers)

    async def test_pause(self) -> None:
        """
        While paused nothing is read but what is under way already; then all of it comes.
        """
        events = [b'data: {"jsonrpc":"2.0","method":"n","params":{"x":"%b"}}\n\n' % (b"x" * 1000)] * 20_000
        server = self.raw(says(STREAM_HEAD + b"".join(events) + b"data: " + RESULT + b"\n\n", end=True))
        conversation = self.converse("streamable-http", server.url)
        await conversation.transport.connect(conversation.link)
        conversation.transport.pause()
        conversation.transport.send(call(1, "echo"))
        await until(lambda: server.requests)

        await deferLater(reactor, 0.3)
        while_paused = len(conversation.link.told)
        conversation.transport.resume()
        await conversation.outcome(1)

        self.assertEqual(0, while_paused)
        self.assertEqual(20_001, len(conversation.link.told))

    async def test_abandon(self) -> None:
        """
        The stream of an abandoned request is closed, and nobody is told anything.
        """
        server = self.raw(says(STREAM_HEAD + b": hello\n\n"))
        conversation = self.converse("streamable-http", server.url)
        await conversation.transport.connect(conversation.link)
        conversation.transport.send(call(1, "echo"))
        await until(lambda: server.requests)

        conversation.transport.abandon(1)
        await until(lambda: server.exchanges[0].closed, 2.0)

        self.assertEqual([], conversation.link.told)

    async def test_bomb(self) -> None:
        """
        A compressed body that grows out of proportion is refused, and never inflated.
        """
        bomb = gzip.compress(b" " * 100_000_000, 9)
        answer = json_answer(bomb, extra=b"Content-Encoding: gzip\r\n")
        loss = await self._lost(Fate.FAILED, Reason.MALFORMED, says(answer))
        self.assertIn("grows to more than 100 times", loss.text)


class TLSTests(HTTPTestCase):
    """What TLS adds. Nothing of a request is sent before the handshake is done."""

    def _serve(self) -> tuple[RawServer, Certificate]:
        key, certificate = _certificate()
        server = RawServer((says(json_answer(RESULT)),))
        port = reactor.listenSSL(0, server, CertificateOptions(key, certificate), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        server.url = f"https://localhost:{port.getHost().port}/mcp"
        return server, Certificate(certificate)

    async def _call(self, url: str, **more: Any) -> Any:
        conversation = self.converse("streamable-http", url, client=http_client(reactor, **more))
        await conversation.transport.connect(conversation.link)
        return await conversation.ask(call(1, "echo"), 5.0)

    async def test_private_authority(self) -> None:
        """
        A certificate is verified by the authority that one gives.
        """
        server, certificate = self._serve()
        policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates([certificate]))

        answer = await self._call(server.url, policy=policy)

        self.assertEqual(Result(1, Raw(b"{}")), answer)

    async def test_untrusted(self) -> None:
        """
        A certificate that nobody vouches for: the server has seen nothing of the request.
        """
        server, _ = self._serve()

        loss = await self._call(server.url)

        self.assertEqual((Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE), (loss.fate, loss.reason))
        self.assertIn("TLS failed: certificate verify failed", loss.text)
        self.assertEqual([], server.requests)

    async def test_wrong_name(self) -> None:
        """
        Nor has one whose certificate is for another host.
        """
        server, certificate = self._serve()
        policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates([certificate]))

        loss = await self._call(server.url.replace("localhost", "127.0.0.1"), policy=policy)

        self.assertEqual(Fate.NEVER_SENT, loss.fate)
        self.assertIn("its certificate is for another host name", loss.text)

    async def test_no_tls(self) -> None:
        """
        Nor has a server that speaks something else.
        """
        port = reactor.listenTCP(0, Factory.forProtocol(Plain), interface="127.0.0.1")
        self.addCleanup(port.stopListening)

        loss = await self._call(f"https://localhost:{port.getHost().port}/")

        self.assertEqual(Fate.NEVER_SENT, loss.fate)

    async def test_silent_handshake(self) -> None:
        """
        Nor one that accepts the connection and says nothing; the deadline is that of connecting.
        """
        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(port.stopListening)

        loss = await self._call(f"https://localhost:{port.getHost().port}/", connect_timeout=0.3)

        self.assertEqual(Fate.NEVER_SENT, loss.fate)
        self.assertIn("no answer within 0.3 s", loss.text)


class Plain(Protocol):
    """Answers a handshake with HTTP."""

    def dataReceived(self, data: bytes) -> None:
        """As servers do that expected something else."""
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _certificate() -> tuple[Any, Any]:
    """A key and its own certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return crypto.PKey.from_cryptography_key(key), crypto.X509.from_cryptography(certificate)
