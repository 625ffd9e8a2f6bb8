"""Tests for L{mcpbridge.ledger.inbox}."""

from __future__ import annotations

import os
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.ledger import inbox as module
from mcpbridge.ledger.inbox import Inbox, Overlong
from mcpbridge.ledger.memory import BOUNDS_WORDS, INBOX_AT, MAX_LINE, Memory
from tests.downstream.manual import Snapshots, memory_file
from tests.ledger.killing import at_every_line


class Case(SynchronousTestCase):
    """With a file."""

    def setUp(self) -> None:
        """An empty file, opened."""
        self.fd = memory_file()
        self.addCleanup(os.close, self.fd)
        self.inbox = self.open()

    def open(self, fd: int | None = None) -> Inbox:
        """As the next one finds it."""
        memory = Memory(os.dup(self.fd) if fd is None else fd)
        inbox = Inbox(memory)
        self.addCleanup(memory.close)
        self.addCleanup(inbox.close)
        return inbox

    def small(self) -> None:
        """Make everything so small that all of it happens."""
        self.patch(module, "READ", 64)
        self.patch(module, "MAX_LINE", 300)
        self.patch(module, "INBOX", 2 * (300 + 2 * 64))
        self.patch(module, "KEPT", 16)


def put(inbox: Inbox, data: bytes) -> None:
    """What a pipe would bring."""
    while data:
        room = inbox.room()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        inbox.filled(count)
        data = data[count:]


def taken(inbox: Inbox, ended: bool = False) -> list[Any]:
    """All lines, consumed."""
    lines = []
    while (line := inbox.next(ended)) is not None:
        lines.append(line)
        inbox.consume()
    return lines


class InboxTests(Case):
    """Lines."""

    def test_lines(self) -> None:
        """Lines come out whole, without their newlines; the beginning of one waits for its end."""
        put(self.inbox, b"one\n\ntwo\nthr")

        first = taken(self.inbox)
        put(self.inbox, b"ee\n")

        self.assertEqual([[b"one", b"", b"two"], [b"three"]], [first, taken(self.inbox)])

    def test_last_line(self) -> None:
        """At the end the last line needs no newline."""
        put(self.inbox, b"one\ntwo")

        self.assertEqual(
            [[b"one"], [b"two"], []], [taken(self.inbox), taken(self.inbox, True), taken(self.inbox, True)]
        )

    @settings(max_examples=60, derandomize=True, deadline=None)
    @given(
        st.lists(st.binary(max_size=400).map(lambda line: line.replace(b"\n", b"")), max_size=12),
        st.lists(st.integers(1, 64), min_size=1, max_size=40),
        st.lists(st.booleans(), min_size=1, max_size=40),
    )
    def test_any_split(self, lines: list[bytes], sizes: list[int], restarts: list[bool]) -> None:
        """However the bytes arrive, and whoever reads them: the same lines."""
        self.small()
        fd = memory_file()
        inbox = self.open(os.dup(fd))
        expected = [line for line in lines if len(line) <= 300]
        data = b"".join(line + b"\n" for line in lines)
        found: list[Any] = []
        step = 0
        while data:
            size = sizes[step % len(sizes)]
            put(inbox, data[:size])
            data = data[size:]
            if restarts[step % len(restarts)]:
                inbox = self.open(os.dup(fd))
            found += taken(inbox)
            step += 1

        os.close(fd)
        self.assertEqual(expected, [line for line in found if not isinstance(line, Overlong)])
        self.assertEqual(
            sum(len(line) > 300 for line in lines),
            sum(isinstance(line, Overlong) and line.tail != b"" for line in found),
        )

    def test_unconsumed(self) -> None:
        """Whoever comes next gets what was not consumed, and nothing else."""
        put(self.inbox, b"one\ntwo\nthree\nfo")
        self.inbox.next()
        self.inbox.consume()
        self.inbox.next()

        found = self.open()

        self.assertEqual((4, [b"two", b"three"]), (found.position, taken(found)))

    def test_uncounted(self) -> None:
        """Bytes that were read but not counted are found."""
        put(self.inbox, b"one\n")
        self.inbox.room()[:6] = b"two\nth"

        found = self.open()
        lines = taken(found)
        put(found, b"ree\n")

        self.assertEqual([b"one", b"two", b"three"], lines + taken(found))

    def test_position(self) -> None:
        """The position counts what was consumed, whatever becomes of the place where it stood."""
        put(self.inbox, b"one\n")
        self.inbox.next()

        after = self.inbox.after
        self.inbox.consume()
        put(self.inbox, b"two\n")
        self.inbox.next()

        self.assertEqual((4, 4, 8), (after, self.inbox.position, self.inbox.after))

    def test_large_line(self) -> None:
        """A line of the largest size is a line, and its memory is given back."""
        line = b"x" * MAX_LINE
        put(self.inbox, b"a\n" + line + b"\nb\n")

        found = taken(self.inbox)
        self.inbox.room()

        self.assertEqual([b"a", line, b"b"], found)
        self.assertLess(os.fstat(self.fd).st_blocks * 512, 2_000_000)


class OverlongTests(Case):
    """Lines above the limit."""

    def setUp(self) -> None:
        """With small limits."""
        super().setUp()
        self.small()

    def through(self, data: bytes) -> list[Any]:
        """What comes of it, piece by piece."""
        found = []
        for at in range(0, len(data), 50):
            put(self.inbox, data[at : at + 50])
            found += taken(self.inbox)
        return found

    def test_long_in_coming(self) -> None:
        """It is reported at the limit, and again at its end; what follows is not lost."""
        found = self.through(b"<" + b"x" * 1000 + b">\nnext\n")

        self.assertEqual(
            [Overlong(b"<" + b"x" * 15, b"", False), Overlong(b"", b"x" * 15 + b">", False), b"next"], found
        )

    def test_settled(self) -> None:
        """What was settled at the limit is said to be at the end, also to whoever comes next."""
        put(self.inbox, b"x" * 310)
        self.inbox.next()
        self.inbox.settle()

        put(self.inbox, b"y" * 100)
        self.inbox = self.open()
        put(self.inbox, b"z" * 40 + b"\nnext\n")

        self.assertEqual([Overlong(b"", b"z" * 16, True), b"next"], taken(self.inbox))

    def test_at_once(self) -> None:
        """One whose end is there when it is seen is reported once."""
        put(self.inbox, b"x" * 290)
        put(self.inbox, b"y" * 30 + b"\n")

        self.assertEqual([Overlong(b"x" * 16, b"y" * 16, False)], taken(self.inbox))

    def test_never_ends(self) -> None:
        """One that ends with the stream is reported then."""
        found = self.through(b"x" * 1000)

        self.assertEqual(
            [Overlong(b"x" * 16, b"", False), Overlong(b"", b"x" * 16, False)], found + taken(self.inbox, True)
        )


class DamageTests(Case):
    """Files that were tampered with."""

    def test_bounds(self) -> None:
        """Bounds that cannot be are not believed."""
        for word, value in ((0, 1 << 40), (1, 1 << 63), (3, 9), (2, 1 << 63)):
            put(self.inbox, b"one\n")
            memory = Memory(os.dup(self.fd))
            memory.words[BOUNDS_WORDS + word] = memory.words[BOUNDS_WORDS + 4 + word] = value
            memory.close()

            self.inbox = self.open()
            put(self.inbox, b"two\n")

            self.assertEqual(([b"two"], 4), (taken(self.inbox), self.inbox.position))

    @settings(max_examples=80, derandomize=True, deadline=None)
    @given(st.binary(min_size=96, max_size=96), st.binary(max_size=300))
    def test_anything(self, header: bytes, text: bytes) -> None:
        """Whatever stands in the file, it can be opened, and what comes after a newline is read."""
        os.pwrite(self.fd, header, 8 * 2)
        os.pwrite(self.fd, text, INBOX_AT)
        inbox = self.open(os.dup(self.fd))

        taken(inbox)
        put(inbox, b"\nlast\n")

        self.assertEqual([b"last"], taken(inbox)[-1:])


class SuspectTests(Case):
    """Lines that daemons die of."""

    def test_twice(self) -> None:
        """A line that two in a row did not survive is suspect; the one behind it is not."""
        put(self.inbox, b"poison\nfood\n")
        found = []
        for _ in range(3):
            inbox = self.open()
            found.append(inbox.suspect)
            inbox.next()
        inbox.consume()
        found.append(inbox.suspect)

        self.assertEqual([False, False, True, False], found)

    def test_put_back(self) -> None:
        """A line that was only looked at is not."""
        put(self.inbox, b"one\n")
        found = []
        for _ in range(4):
            inbox = self.open()
            found.append(inbox.suspect)
            inbox.next()
            inbox.put_back()

        self.assertEqual([False] * 4, found)


class KilledTests(Case):
    """Killed at every line."""

    def test_nothing_is_lost(self) -> None:
        """Whenever the reader is killed, the next one goes on at a line's beginning, with every byte that came."""
        self.small()
        random_ = random.Random(7)
        lines = [bytes(random_.choices(b"abc", k=random_.randrange(1, 150))) + b"\n" for _ in range(60)]
        stream = b"".join(lines)
        boundaries = {sum(map(len, lines[:count])) for count in range(len(lines) + 1)}
        snapshots = Snapshots(self.fd, (0, 128), (INBOX_AT, INBOX_AT + 2 * (300 + 128)))
        found: dict[Any, int] = {}
        arrived = 0

        def run() -> None:
            nonlocal arrived
            while arrived < len(stream):
                room = self.inbox.room()
                count = min(random_.randrange(1, 65), len(stream) - arrived)
                room[:count] = stream[arrived : arrived + count]
                arrived += count
                self.inbox.filled(count)
                while self.inbox.next() is not None and random_.random() < 0.8:
                    self.inbox.consume()

        at_every_line(("ledger/inbox.py", "ledger/memory.py"), run, lambda: found.setdefault(snapshots.take(), arrived))

        for snapshot, count in found.items():
            fd = snapshots.restore(snapshot)
            upto = count
            for _ in range(30):
                # Killed again, each time with the next bytes in the file already.
                more = stream[upto : upto + 9]
                memory = Memory(os.dup(fd))
                inbox = Inbox(memory)
                inbox.room()[: len(more)] = more
                upto += len(more)
                inbox.close()
                memory.close()
            memory = Memory(fd)
            inbox = Inbox(memory)
            start = inbox.position
            rest = b"".join(line + b"\n" for line in taken(inbox)) + b"".join(taken(inbox, ended=True))
            self.assertEqual((True, stream[start:upto]), (start in boundaries, rest))
            inbox.close()
            memory.close()
        self.assertGreater(len(found), 300)

    def test_overlong(self) -> None:
        """Whenever the reader of an overlong line is killed, no part of it is taken for a line by the next one."""
        self.small()
        stream = b"x" * 400 + b"\nnext\n"
        snapshots = Snapshots(self.fd, (0, 128), (INBOX_AT, INBOX_AT + 2 * (300 + 128)))
        found: dict[Any, int] = {}
        arrived = 0

        def run() -> None:
            nonlocal arrived
            while arrived < len(stream):
                count = min(50, len(stream) - arrived)
                self.inbox.room()[:count] = stream[arrived : arrived + count]
                arrived += count
                self.inbox.filled(count)
                taken(self.inbox)

        at_every_line(("ledger/inbox.py",), run, lambda: found.setdefault(snapshots.take(), arrived))

        heard = set()
        for snapshot, count in found.items():
            inbox = self.open(snapshots.restore(snapshot))
            lines = taken(inbox)
            put(inbox, stream[count:])
            lines += taken(inbox)
            heard.add(tuple(line for line in lines if not isinstance(line, Overlong)))
        self.assertEqual({(b"next",), ()}, heard)
