"""
A reactor that is turned by hand, over real descriptors; and a link that writes down what it is told.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.main import CONNECTION_DONE
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.errors import Loss
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId
from mcpbridge.downstream.half_close import IHalfCloseableLink
from mcpbridge.downstream.outlet import IReactor
from mcpbridge.ledger.memory import SIZE


@implementer(IReactor)
class ManualReactor(Clock):
    """Watches nothing until L{turn}ed."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet}."""
        if reader not in self.readers:
            self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet}."""
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet}."""
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet}."""
        if writer in self.writers:
            self.writers.remove(writer)

    def removeAll(self) -> list[Any]:
        """See L{twisted.internet.interfaces.IReactorFDSet}."""
        found = self.getReaders() + self.getWriters()
        self.readers.clear()
        self.writers.clear()
        return found

    def getReaders(self) -> list[Any]:
        """See L{twisted.internet.interfaces.IReactorFDSet}."""
        return list(self.readers)

    def getWriters(self) -> list[Any]:
        """See L{twisted.internet.interfaces.IReactorFDSet}."""
        return list(self.writers)

    def turn(self) -> bool:
        """Do what is to be done now; whether there was anything."""
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
        self.advance(0)
        busy = bool(due)
        for reader in self.getReaders():
            busy = self._turn_reader(reader) or busy
        for writer in self.getWriters():
            if writer in self.writers and _ready(writer.fileno(), select.POLLOUT):
                busy = True
                writer.doWrite()
        return busy

    def settle(self) -> None:
        """Turn until there is nothing to do."""
        for _ in range(10_000):
            if not self.turn():
                return
        raise AssertionError("it never comes to rest")

    def _turn_reader(self, reader: Any) -> bool:
        if reader not in self.readers:
            return False
        events = _ready(reader.fileno(), select.POLLIN)
        if events & select.POLLIN:
            reader.doRead()
        elif events:
            # As the epoll reactor does it.
            self.removeReader(reader)
            reader.connectionLost(Failure(CONNECTION_DONE))
        return bool(events)


@implementer(IHalfCloseableLink)
class Notes:
    """A link that writes down what it is told, and may do something about it."""

    def __init__(self, act: Callable[[str, Any], None] | None = None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self._act = act

    def received(self, message: Message, within: RequestId | None) -> None:
        """See L{IMessageLink}."""
        self._note("received", message)

    def received_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        """See L{IMessageLink}."""
        self._note("received_batch", list(messages))

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """See L{IMessageLink}."""
        self._note("received_garbage", (invalid.code, invalid.request_id))

    def request_lost(self, request_id: RequestId, loss: Loss) -> None:
        """See L{IMessageLink}."""
        self._note("request_lost", request_id)

    def disconnected(self, loss: Loss) -> None:
        """See L{IMessageLink}."""
        self._note("disconnected", loss.text)

    def congested(self) -> None:
        """See L{IMessageLink}."""
        self._note("congested", None)

    def relieved(self) -> None:
        """See L{IMessageLink}."""
        self._note("relieved", None)

    def no_more(self) -> None:
        """See L{IHalfCloseableLink}."""
        self._note("no_more", None)

    def _note(self, what: str, argument: Any) -> None:
        self.told.append((what,) if argument is None else (what, argument))
        if self._act is not None:
            self._act(what, argument)


def memory_file() -> int:
    """As a relay makes it."""
    return os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


class Snapshots:
    """
    What a file of a ledger holds at some moment, but for most of its zeros: enough to bring it back.
    """

    #: Parts of the file that short tests touch: header and newlines, the first slots, the beginning of the inbox.
    def __init__(self, fd: int, *parts: tuple[int, int]) -> None:
        self._fd = fd
        self._parts = parts

    def take(self) -> tuple[int, tuple[bytes, ...]]:
        """The file as it is."""
        return os.lseek(self._fd, 0, os.SEEK_CUR), tuple(os.pread(self._fd, end - at, at) for at, end in self._parts)

    def restore(self, found: tuple[int, tuple[bytes, ...]]) -> int:
        """A new file as that one was."""
        position, texts = found
        fd = memory_file()
        os.ftruncate(fd, SIZE)
        for (at, _), text in zip(self._parts, texts, strict=True):
            os.pwrite(fd, text, at)
        os.lseek(fd, position, os.SEEK_SET)
        return fd


def drained(fd: int) -> bytes:
    """Everything that can be read now."""
    parts = []
    while _ready(fd, select.POLLIN) & select.POLLIN:
        data = os.read(fd, 1 << 20)
        if not data:
            break
        parts.append(data)
    return b"".join(parts)


def _ready(fd: int, events: int) -> int:
    poll = select.poll()
    poll.register(fd, events)
    found = poll.poll(0)
    return found[0][1] if found else 0
