"""
Tests for L{mcpbridge.upstream.stderr}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.upstream.stderr import MAX_LINES, MAX_TAIL, Allowance, Mask, StandardError


class MaskTests(SynchronousTestCase):
    """Secrets in text."""

    def test_values(self) -> None:
        """Configured values are hidden wherever they occur, the longer one first."""
        mask = Mask({"A": "12345678", "B": "123456789"})

        self.assertEqual("a *** b *** c", mask.hide("a 123456789 b 12345678 c"))

    def test_short_values(self) -> None:
        """A flag is no secret, unless its name says so."""
        mask = Mask({"DEBUG": "true", "API_KEY": "abcd", "TOKEN": "abc", "N": ""})

        self.assertEqual("true *** abc", mask.hide("true abcd abc"))

    def test_many_lines(self) -> None:
        """A key of many lines is hidden line by line."""
        mask = Mask({"KEY": "-----BEGIN\nMIIEabcd\nfghi\n"})

        self.assertEqual(["***", "***"], [mask.hide("MIIEabcd"), mask.hide("fghi")])

    def test_special_characters(self) -> None:
        """A value is not a pattern."""
        self.assertEqual("***", Mask({"A": "a.*+?(b)|"}).hide("a.*+?(b)|"))

    def test_nothing(self) -> None:
        """With nothing to hide text is left alone."""
        self.assertEqual("text", Mask({}).hide("text"))


class AllowanceTests(SynchronousTestCase):
    """So many in a second."""

    def test_per_second(self) -> None:
        """What is more than allowed is refused until the next second."""
        clock = Clock()
        allowance = Allowance(clock, 3)
        granted = [allowance.take(2), allowance.take(2), allowance.take()]
        clock.advance(1)
        granted.append(allowance.take(5))

        self.assertEqual([2, 1, 0, 3], granted)

    def test_refused(self) -> None:
        """The refused are counted, and told once the second is over, or at the end."""
        clock = Clock()
        allowance = Allowance(clock, 3)
        allowance.take(5)
        told = [allowance.refused()]
        clock.advance(1)
        told += [allowance.refused(), allowance.refused()]
        allowance.take(4)
        told += [allowance.refused(), allowance.refused(at_end=True)]

        self.assertEqual([0, 2, 0, 0, 1], told)


class StandardErrorTests(SynchronousTestCase):
    """What a child complains about."""

    def setUp(self) -> None:
        """Nothing was said yet."""
        self.clock = Clock()
        self.said = StandardError("demo", self.clock, Mask({"TOKEN": "secret-1"}))

    def test_logged_and_kept(self) -> None:
        """Each line is logged under the upstream's name and kept, harmless and without secrets."""
        with capturedLogs() as events:
            self.said.received(b"sta")
            self.said.received(b"rted\r\n\n\x1b[1mtoken secret-1\xff\nres")
            self.said.ended()

        lines = ["started", "\\x1b[1mtoken ***\\xff", "res"]
        self.assertEqual(
            (lines, [f"demo says: {line}" for line in lines]),
            (self.said.tail(), [formatEvent(event) for event in events]),
        )

    def test_flood(self) -> None:
        """Of a flood the start is logged, the rest counted, and the end kept."""
        with capturedLogs() as events:
            for number in range(1000):
                self.said.received(b"line %d\n" % number)
            self.clock.advance(1)
            self.said.received(b"last\n")

        texts = [formatEvent(event) for event in events]
        self.assertEqual(
            (102, "demo says: line 99", ["demo said 900 lines more than are logged", "demo says: last"]),
            (len(texts), texts[99], texts[100:]),
        )
        self.assertEqual((MAX_LINES, "line 951", "last"), (len(self.said.tail()), *self.said.tail()[:: MAX_LINES - 1]))

    def test_flood_at_the_end(self) -> None:
        """The count is told when there is nothing more to come."""
        with capturedLogs() as events:
            self.said.received(b"x\n" * 150)
            self.said.ended()
            self.said.ended()

        self.assertEqual("demo said 50 lines more than are logged", formatEvent(events[-1]))
        self.assertEqual(101, len(events))

    def test_long_lines(self) -> None:
        """What is kept is bounded in bytes as well, whatever the lines are."""
        self.said.received((b"x" * 8000 + b"\n") * 100)
        sizes = [len(self.said.tail())]
        self.said.received(b"y" * 10_000_000 + b"\n")
        sizes.append(len(self.said.tail()))

        self.assertEqual([MAX_TAIL // 8000, MAX_TAIL // 8000], sizes)
        self.assertEqual("y" * 500 + "... (3596 more)", self.said.tail()[-1])

    def test_last_words(self) -> None:
        """The last lines as one, from the end, and not too much."""
        silence = self.said.last_words()
        self.said.received(b"Traceback\n   at line 1\n   ~~~^^^^\n \nError\n")
        few = self.said.last_words()
        self.said.received(b"x" * 400 + b"\n" + b"y" * 400 + b"\n" + b"z" * 400 + b"\n")
        many = self.said.last_words()

        self.assertEqual(("", "Traceback | at line 1 | Error"), (silence, few))
        self.assertEqual((1003, True, True), (len(many), many.startswith("...x"), many.endswith("z")))

    def test_last_moments(self) -> None:
        """A server that was up is not blamed for what it said long before."""
        self.said.received(b"Welcome to the server\n")
        self.clock.advance(10)
        found = [self.said.last_words()]
        self.said.came_up()
        found.append(self.said.last_words())
        self.said.received(b"panic\n")
        self.clock.advance(2)
        found.append(self.said.last_words())

        self.assertEqual(["Welcome to the server", "", "panic"], found)
