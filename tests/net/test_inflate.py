"""
Tests for L{mcpbridge.net.inflate}.
"""

from __future__ import annotations

import gzip
import zlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mcpbridge.net.failures import CodingRefused
from mcpbridge.net.inflate import IdentityAgent, Inflater


def deflated(data: bytes) -> bytes:
    """Deflate without a frame, as old servers did."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


@implementer(IResponse)
class Response:
    """A response in memory."""

    code = 200
    phrase = b"OK"
    version = (b"HTTP", 1, 1)
    request: Any = None
    previousResponse: Any = None

    def setPreviousResponse(self, response: Any) -> None:
        """There is none."""

    def __init__(self, body: bytes, coding: str | None) -> None:
        self.headers = Headers({} if coding is None else {"Content-Encoding": [coding]})
        self.length: Any = len(body)
        self.stopped = False
        self._body = body

    def deliverBody(self, protocol: IProtocol) -> None:
        """All of it at once."""
        protocol.makeConnection(self)  # type: ignore[arg-type]  # It is its own transport.
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))

    def stopProducing(self) -> None:
        """Nobody wants it."""
        self.stopped = True


@implementer(IAgent)
class Server:
    """An agent that has one answer."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.asked: Any = None

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        """Answer."""
        self.asked = list(headers.getAllRawHeaders())
        return succeed(self.response)


class Reader(Protocol):
    """Reads a body."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """A part."""
        self.parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        assert self.reason is None
        self.reason = reason


def read(response: Response) -> tuple[bytes, Failure | None]:
    """What a reader gets of this response."""
    got: list[Any] = []
    IdentityAgent(Server(response)).request(b"GET", b"/", Headers()).addCallback(got.append)
    reader = Reader()
    got[0].deliverBody(reader)
    return b"".join(reader.parts), reader.reason


class InflaterTests(SynchronousTestCase):
    """Inflating."""

    @given(st.binary(max_size=5000), st.integers(1, 700), st.sampled_from(["gzip", "zlib", "raw", "members"]))
    @settings(max_examples=200, derandomize=True, deadline=None)
    def test_any_split(self, data: bytes, size: int, form: str) -> None:
        """
        However it is compressed and cut, the same comes out.
        """
        coding, compressed = {
            "gzip": (b"gzip", gzip.compress(data)),
            "zlib": (b"deflate", zlib.compress(data)),
            "raw": (b"deflate", deflated(data)),
            "members": (b"gzip", gzip.compress(data[:100]) + gzip.compress(data[100:])),
        }[form]
        inflater = Inflater(coding)

        found = b"".join(
            part for at in range(0, len(compressed), size) for part in inflater.feed(compressed[at : at + size])
        )

        self.assertEqual(data, found)
        self.assertTrue(inflater.complete)

    @given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
    @settings(max_examples=200, derandomize=True, deadline=None)
    def test_any_bytes(self, data: bytes, coding: bytes) -> None:
        """
        Whatever comes, nothing else is raised.
        """
        inflater = Inflater(coding)
        try:
            for byte in data:
                inflater.feed(bytes([byte]))
        except CodingRefused:
            pass

    def test_ratio(self) -> None:
        """
        What grows more than a hundred times is refused past one mebibyte, before it is all inflated.
        """
        bomb = gzip.compress(b"\0" * 30_000_000, 9)
        inflater = Inflater(b"gzip")

        self.assertRaises(CodingRefused, inflater.feed, bomb)
        self.assertLess(inflater._given, 5_000_000)

    def test_parts_are_small(self) -> None:
        """
        What is inflated comes in parts of 64 KiB at most.
        """
        parts = Inflater(b"gzip").feed(gzip.compress(bytes(range(256)) * 2000))

        self.assertEqual(64 * 1024, max(map(len, parts)))


class IdentityAgentTests(SynchronousTestCase):
    """The agent."""

    def test_provides(self) -> None:
        """
        It is an agent.
        """
        self.assertTrue(verifyObject(IAgent, IdentityAgent(Server(Response(b"", None)))))

    def test_asks_for_identity(self) -> None:
        """
        Whatever treq had said.
        """
        server = Server(Response(b"", None))

        IdentityAgent(server).request(b"GET", b"/", Headers({"Accept-Encoding": ["gzip"]}))

        self.assertEqual([(b"Accept-Encoding", [b"identity"])], server.asked)

    def test_codings(self) -> None:
        """
        Plain bodies pass, compressed ones are inflated.
        """
        for coding, body in [
            (None, b"abc"),
            ("identity", b"abc"),
            ("GZIP", gzip.compress(b"abc")),
            ("x-gzip", gzip.compress(b"abc")),
            ("deflate", zlib.compress(b"abc")),
        ]:
            found, reason = read(Response(body, coding))
            assert reason is not None
            self.assertEqual((b"abc", ResponseDone), (found, reason.type))

    def test_broken(self) -> None:
        """
        What is broken or cut off ends with an error, and closes the connection.
        """
        for body in (b"no gzip", gzip.compress(b"abc" * 1000)[:-5]):
            response = Response(body, "gzip")
            _, reason = read(response)
            assert reason is not None
            self.assertEqual(CodingRefused, reason.type)

    def test_unknown(self) -> None:
        """
        Another coding, or several, is an error at once.
        """
        for coding in ("br", "gzip, gzip", "zstd"):
            response = Response(b"x", coding)
            failed = IdentityAgent(Server(response)).request(b"GET", b"/", Headers())
            error = self.failureResultOf(failed, CodingRefused)
            self.assertIn("which nobody asked for", str(error.value))
            self.assertTrue(response.stopped)
