"""
Stand-ins for what Twisted hands to a body protocol, with a memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer


@implementer(IPushProducer)
@attrs.define(eq=False)
class FakeBodyTransport:
    """Like the proxy that Twisted gives to body protocols, it is a push producer and nothing else."""

    calls: list[str] = attrs.field(factory=list)

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


@implementer(IResponse)
class FakeResponse:
    """A response head, and a body that the test writes."""

    version = (b"HTTP", 1, 1)
    phrase = b""
    length = UNKNOWN_LENGTH
    previousResponse: IResponse | None = None

    def __init__(self, code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.code = code
        self.request = cast(IClientRequest, None)
        given = {"content-type": "text/event-stream"} if headers is None else headers
        self.headers = Headers({name: [value] for name, value in given.items()})
        self.transport = FakeBodyTransport()
        self.body: Protocol | None = None

    def deliverBody(self, protocol: Protocol) -> None:
        if self.body is not None:
            raise RuntimeError("this body has a reader")
        self.body = protocol
        protocol.makeConnection(self.transport)
        self.transport.resumeProducing()

    def setPreviousResponse(self, response: IResponse) -> None:
        self.previousResponse = response

    def write(self, data: bytes) -> None:
        assert self.body is not None
        self.body.dataReceived(data)

    def lose(self, reason: BaseException | None = None) -> None:
        assert self.body is not None
        self.body.connectionLost(Failure(ResponseDone() if reason is None else reason))

    @property
    def discarded(self) -> bool:
        return "stop" in self.transport.calls
