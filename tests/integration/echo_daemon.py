"""
A daemon of the tests' own: the real socket and the real transports, and behind them a link that answers by itself.

    python -m tests.integration.echo_daemon

Methods: C{echo} gives its params back; C{big} a string of C{params.size} bytes; C{slow} answers after a time;
C{never} is left open; C{pid} says which process answers; C{kill} kills it before the answer; C{remember} keeps a text,
C{recall} gives it back; everything else is C{echo} too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import FileLogObserver, formatEventAsClassicLogText, globalLogBeginner
from zope.interface import implementer

from mcpbridge import paths
from mcpbridge.core.errors import ConfigurationError, ErrorObject, Loss, Reason, bridge_error
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result, read, value
from mcpbridge.downstream.listening import listen, tell_ready
from mcpbridge.downstream.pipes import PipeTransport
from mcpbridge.downstream.relays import Hello, RelayFactory
from mcpbridge.interfaces import IMessageLink


@implementer(IMessageLink)
class EchoLink:
    """Answers every request."""

    def __init__(self, reactor: Any, transport: PipeTransport) -> None:
        self._reactor = reactor
        self._transport = transport

    def begin(self) -> None:
        """Answer what an earlier daemon left open."""
        for request_id in self._transport.unanswered():
            fault = bridge_error(Reason.RESTARTED, "echo", "the daemon was restarted")
            self._transport.send(Error(request_id, fault))

    def received(self, message: Message, within: RequestId | None) -> None:
        """One message."""
        if isinstance(message, Notification):
            params = read(message.params) if message.params is not None else {}
            for number in range(params.get("count", 0)):
                self._transport.send(Notification("tick", value({"number": number})))
        if not isinstance(message, Request):
            return
        params = read(message.params) if message.params is not None else {}
        match message.method:
            case "big":
                self._transport.send(Result(message.id, value({"text": "x" * params["size"]})))
            case "slow":
                self._reactor.callLater(params["seconds"], self._answer, message)
            case "never":
                pass
            case "pid":
                self._transport.send(Result(message.id, value({"pid": os.getpid()})))
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "remember":
                self._transport.remember(params["text"].encode())
                self._transport.send(Result(message.id, value({})))
            case "recall":
                self._transport.send(Result(message.id, value({"text": self._transport.remembered().decode()})))
            case _:
                self._answer(message)

    def received_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        """Several messages."""
        for message in messages:
            if isinstance(message, InvalidMessage):
                self.received_garbage(message)
            else:
                self.received(message, None)

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """Something else."""
        self._transport.send(invalid.answer)

    def request_lost(self, request_id: RequestId, loss: Loss) -> None:
        """We ask nothing."""

    def disconnected(self, loss: Loss) -> None:
        """The client is gone."""
        sys.stderr.write(f"{loss.text}\n")

    def congested(self) -> None:
        """We only answer, so stop asking."""
        self._transport.pause()

    def relieved(self) -> None:
        """Go on."""
        self._transport.resume()

    def _answer(self, message: Request) -> None:
        if message.method == "fail":
            self._transport.send(Error(message.id, ErrorObject(1, "as you wish")))
        else:
            self._transport.send(Result(message.id, message.params if message.params is not None else value({})))


def main() -> None:
    """Run until SIGTERM."""
    from twisted.internet import reactor as found  # noqa: PLC0415, TID251  # a program

    reactor: Any = found
    observer = FileLogObserver(sys.stderr, formatEventAsClassicLogText)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)

    def attach(hello: Hello, transport: PipeTransport) -> None:
        if hello.server.startswith("unknown"):
            raise ConfigurationError(f"{hello.server}: no such server")
        link = EchoLink(reactor, transport)
        transport.connect(link)
        link.begin()

    def control(line: str) -> Deferred[str]:
        return succeed(f'{{"asked": "{line}", "clients": {len(factory.transports)}}}')

    factory = RelayFactory(reactor, attach, control)
    try:
        listener = listen(reactor, paths.socket_path(), factory)
    except ConfigurationError as error:
        tell_ready(os.environ, str(error))
        sys.exit(1)

    async def stop() -> None:
        await listener.stop()
        factory.stopping()
        for transport in factory.transports:
            transport.disconnect()
        await factory.closed()

    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    reactor.callWhenRunning(tell_ready, os.environ)
    sys.stderr.write(f"daemon {os.getpid()} listens\n")
    reactor.run()


if __name__ == "__main__":
    main()
