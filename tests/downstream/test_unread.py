"""Tests for L{mcpbridge.downstream.unread}."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mcpbridge.downstream.unread import unread_of
from tests.downstream.manual import memory_file


class UnreadTests(SynchronousTestCase):
    """What a reader has not read."""

    def seen(self, reader: int, writer: int) -> list[bool]:
        """Whether something is unread: at first, after a message, after a part of it was read, after all was."""
        unread = unread_of(writer)
        steps: list[Callable[[], object]] = [
            lambda: None,
            lambda: os.write(writer, b"message"),
            lambda: os.read(reader, 3),
            lambda: os.read(reader, 100),
        ]
        found = []
        for step in steps:
            step()
            found.append(unread() > 0)
        return found

    def test_pipe(self) -> None:
        """Linux counts for pipes."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)

        self.assertEqual([False, *[sys.platform == "linux"] * 2, False], self.seen(reader, writer))

    def test_unix_socket(self) -> None:
        """Linux counts for Unix sockets, which is what some clients use as pipes."""
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close)
        self.addCleanup(writer.close)

        self.assertEqual([False, *[sys.platform == "linux"] * 2, False], self.seen(reader.fileno(), writer.fileno()))

    def test_tcp(self) -> None:
        """Of TCP it is not known what the other process has read."""
        with socket.create_server(("127.0.0.1", 0)) as port, socket.create_connection(port.getsockname()) as writer:
            reader, _ = port.accept()
            self.addCleanup(reader.close)

            self.assertEqual([False] * 4, self.seen(reader.fileno(), writer.fileno()))

    def test_terminal(self) -> None:
        """Nor of a terminal."""
        try:
            reader, writer = os.openpty()
        except OSError as error:
            raise SkipTest(f"there are no terminals here ({error})") from None
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)

        self.assertEqual([False] * 4, self.seen(reader, writer))

    def test_file(self) -> None:
        """Nobody is known to read a file."""
        fd = memory_file()
        self.addCleanup(os.close, fd)
        unread = unread_of(fd)
        os.write(fd, b"message")

        self.assertEqual(0, unread())

    def test_closed(self) -> None:
        """What is not open, or is not any more, has nothing unread."""
        reader, writer = os.pipe()
        os.write(writer, b"message")
        unread = unread_of(writer)
        os.close(reader)
        os.close(writer)

        self.assertEqual((0, 0), (unread(), unread_of(writer)()))
