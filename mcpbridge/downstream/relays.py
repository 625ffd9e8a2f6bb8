"""
The Unix socket where relays come in and hand over their clients.

A relay says one line, and passes three descriptors with it: its stdin, its stdout, and the file for what has to outlive
us. It gets C{ok}, or C{no} and a sentence; then both are silent until one of them is gone, or C{bye} says that the
client is, or C{stopping} that we are about to be. Operators come in by the same door with another line.

The peer is a process of our own user, which may still be broken: what it says is bounded, in size and in time.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import ClassVar

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IFileDescriptorReceiver
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.printable import printable
from mcpbridge.downstream.handover import Handover
from mcpbridge.downstream.outlet import IReactor
from mcpbridge.downstream.pipes import PipeTransport
from mcpbridge.ledger.memory import UnusableMemory

#: Bytes of the first line. A path of 4,096 bytes takes 8,192 in hexadecimal; the rest is short.
MAX_HELLO = 16 * 1024
#: Seconds for the first line to come. It is sent with the connection; only a stopped process needs longer.
HELLO_DEADLINE = 5.0
#: Seconds that an operator may wait for an answer.
CONTROL_DEADLINE = 120.0

_HELLO = b"MCPBRIDGE/1 "
_CONTROL = b"CONTROL/1 "
_DESCRIPTORS = 3


@attrs.frozen
class Hello:
    """
    What a relay says of its client.

    @ivar server: the name of a server, or its URL, as the user wrote it.
    @ivar cwd: the client's working directory; empty if it has none.
    @ivar pid: the relay's process id, by its own account.
    """

    server: str
    cwd: str
    pid: int


class _Refused(Exception):
    """The peer cannot be served; the text is for the human who started it."""


@implementer(IFileDescriptorReceiver)
class RelayProtocol(Protocol):
    """One connection: that of a relay, or of an operator."""

    _log: ClassVar[Logger] = Logger()
    factory: RelayFactory

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._buffer = b""
        self._descriptors: list[int] = []
        self._deadline: IDelayedCall | None = None
        self._asked: Deferred[str] | None = None
        self._greeted = False
        self.client: PipeTransport | None = None

    def connectionMade(self) -> None:
        """Somebody is there; we listen to our own user and to root."""
        self.factory.protocols.add(self)
        self._deadline = self._reactor.callLater(HELLO_DEADLINE, self._abort)
        uid = _peer_uid(self.transport)
        if uid is not None and uid not in (os.getuid(), 0):
            self._log.warn("refused a connection of user {uid}", uid=uid)
            self._abort()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor came, ahead of the line that it belongs to."""
        # They come without close-on-exec, and no child of ours may get them.
        os.set_inheritable(descriptor, False)
        if self._greeted or len(self._descriptors) > _DESCRIPTORS:
            os.close(descriptor)
            self._abort()
        else:
            self._descriptors.append(descriptor)

    def dataReceived(self, data: bytes) -> None:
        """The first line, or a part of it. Nothing is expected afterwards."""
        if self._greeted:
            self._abort()
            return
        self._buffer += data
        line, newline, rest = self._buffer.partition(b"\n")
        if newline and not rest and len(line) < MAX_HELLO:
            self._greeted = True
            self._buffer = b""
            self._cancel_deadline()
            self._first_line(line)
        elif newline or len(line) >= MAX_HELLO:
            self._refuse("this is not how a relay of this version says hello")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The peer is gone, and its client with it; or we hung up."""
        self.factory.protocols.discard(self)
        self._cancel_deadline()
        self._close_descriptors()
        if self._asked is not None:
            self._asked.cancel()
        if self.client is not None:
            self.client.gone("its relay has ended")
        self.factory.lost()

    def say(self, word: bytes) -> None:
        """Tell the relay something."""
        assert self.transport is not None
        self.transport.write(word + b"\n")

    def _first_line(self, line: bytes) -> None:
        if line.startswith(_CONTROL):
            self._close_descriptors()
            self._ask(line[len(_CONTROL) :].decode("utf-8", "replace").strip())
            return
        try:
            self._attach(_hello(line))
        except _Refused as refusal:
            self._refuse(str(refusal))
        except ConfigurationError as error:
            self._refuse(str(error))
        except Exception:  # noqa: BLE001  # of whoever attaches
            self._log.failure("a relay could not be attached")
            self._refuse("mcpbridge failed at attaching this client; its log says more")

    def _attach(self, hello: Hello) -> None:
        if self.factory.stopped:
            # It comes back, to the next daemon.
            self.say(b"stopping")
            self._hang_up()
            return
        if _hung_up(self.transport):
            # It came while we could not look. Its client is served by somebody else by now, maybe.
            self._abort()
            return
        transport = self._transport_for(hello)
        try:
            self.factory.attach(hello, transport)
        except BaseException:
            transport.disconnect()
            raise
        self.client = transport
        self.say(b"ok")
        transport.when_closed().addCallback(self._client_closed)

    def _transport_for(self, hello: Hello) -> PipeTransport:
        if len(self._descriptors) != _DESCRIPTORS:
            raise _Refused("the daemon did not get what belongs to this client; it may have too many open files")
        stdin, stdout, memory = self._descriptors
        for fd in (stdin, stdout):
            mode = os.fstat(fd).st_mode
            if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
                raise _Refused("standard input and output have to come as pipes or sockets")
        self._descriptors = [stdin, stdout]
        try:
            handover = Handover(memory)
        except UnusableMemory as error:
            raise _Refused(str(error)) from error
        self._descriptors = []
        return PipeTransport(self._reactor, stdin, stdout, handover, hello.server)

    def _client_closed(self, _: None) -> None:
        client, self.client = self.client, None
        if not self.factory.stopped or (client is not None and client.client_left):
            self.say(b"bye")
        self._hang_up()

    def _ask(self, line: str) -> None:
        if self.factory.control is None:
            self._refuse("this daemon takes no commands")
            return
        try:
            asked = self.factory.control(line)
        except Exception:  # noqa: BLE001  # of whoever is in control
            self._unanswerable(Failure())
            return
        self._asked = asked
        asked.addTimeout(CONTROL_DEADLINE, self._reactor)
        asked.addCallbacks(self._answered, self._unanswerable)

    def _answered(self, answer: str) -> None:
        self._asked = None
        self.say(answer.encode("utf-8", "backslashreplace"))
        self._hang_up()

    def _unanswerable(self, failure: Failure) -> None:
        self._asked = None
        self._log.failure("a command could not be carried out", failure)
        self._hang_up()

    def _refuse(self, text: str) -> None:
        self._close_descriptors()
        self.say(b"no " + printable(text, 2000).encode("utf-8"))
        self._hang_up()

    def _hang_up(self) -> None:
        self._greeted = True
        if self.transport is not None:
            self.transport.loseConnection()

    def _abort(self) -> None:
        self._greeted = True
        self._close_descriptors()
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # sockets have it, ITransport does not

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _close_descriptors(self) -> None:
        descriptors, self._descriptors = self._descriptors, []
        for descriptor in descriptors:
            os.close(descriptor)


class RelayFactory(ServerFactory[RelayProtocol]):
    """
    Makes L{PipeTransport}s of the relays that come.

    @ivar attach: what to do with a client. It calls C{transport.connect(link)}, at once or soon, or raises
        L{ConfigurationError} with a sentence for the human who started the relay.
    @ivar control: what to do with an operator's line; its Deferred has one JSON text.
    @ivar stopped: whether L{stopping} was called.
    @ivar protocols: the connections there are.
    """

    noisy = False

    def __init__(
        self,
        reactor: IReactor,
        attach: Callable[[Hello, PipeTransport], None],
        control: Callable[[str], Deferred[str]] | None = None,
    ) -> None:
        self._reactor = reactor
        self.attach = attach
        self.control = control
        self.stopped = False
        self.protocols: set[RelayProtocol] = set()
        self._waiters: list[Deferred[None]] = []

    @property
    def transports(self) -> frozenset[PipeTransport]:
        """The clients that are attached now."""
        return frozenset(protocol.client for protocol in self.protocols if protocol.client is not None)

    def buildProtocol(self, addr: IAddress | None) -> RelayProtocol:
        """Somebody connected."""
        protocol = RelayProtocol(self._reactor)
        protocol.factory = self
        return protocol

    def stopping(self) -> None:
        """
        A planned stop begins: relays wait for the next daemon, and no client's request is taken up any more.

        The clients stay attached until their transports are disconnected.
        """
        if self.stopped:
            return
        self.stopped = True
        for protocol in tuple(self.protocols):
            if protocol.client is not None:
                protocol.say(b"stopping")
                protocol.client.hold()

    def closed(self) -> Deferred[None]:
        """Fires when no client is attached any more."""
        if not self.transports:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def lost(self) -> None:
        """A connection is gone."""
        if self.transports:
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)


def _hello(line: bytes) -> Hello:
    if not line.startswith(_HELLO):
        raise _Refused("this is not how a relay of this version says hello")
    words = line[len(_HELLO) :].split(b" ")
    try:
        server, cwd, pid = words
        # fromhex is ready for text only, and takes white space, of which there is none left here.
        return Hello(
            bytes.fromhex(server.decode("ascii")).decode("utf-8"),
            os.fsdecode(bytes.fromhex(cwd.decode("ascii"))),
            int(pid.decode("ascii")),
        )
    except ValueError:
        raise _Refused("this is not how a relay of this version says hello") from None


def _hung_up(transport: object) -> bool:
    """Whether the peer has closed the connection already, though we have not been told yet."""
    if not hasattr(transport, "getHandle"):
        return False
    try:
        return not transport.getHandle().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _peer_uid(transport: object) -> int | None:
    """The user at the other end; L{None} where the kernel does not say. Then the directory alone keeps others out."""
    if not hasattr(socket, "SO_PEERCRED") or not hasattr(transport, "getHandle"):
        return None
    credentials = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
