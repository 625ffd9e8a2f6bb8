"""
Tests for L{txsse._parser}.
"""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.txsse.reference import parse
from tests.txsse.strategies import bounded, cut, places, streams
from txsse import Event, EventParser, EventTooLarge, Retry
from txsse._events import MAX_RETRY

BOM = b"\xef\xbb\xbf"


def message(raw: bytes, id: str = "") -> Event:
    return Event("message", raw, id)


# Each row: what it shows, the stream, what it says. Many are modelled on the event source tests of the web platform.
TABLE: list[tuple[str, bytes, list[Event | Retry]]] = [
    ("one line", b"data: a\n\n", [message(b"a")]),
    ("two lines", b"data: a\ndata: b\n\n", [message(b"a\nb")]),
    ("two events", b"data: a\n\ndata: b\n\n", [message(b"a"), message(b"b")]),
    ("LF, CR and CRLF mixed", b"data:1\r\n\r\ndata:2\r\rdata:3\n\n", [message(b"1"), message(b"2"), message(b"3")]),
    ("CRLF is one end", b"data:a\r\ndata:b\r\n\r\n", [message(b"a\nb")]),
    ("LF CR is two ends", b"data:a\n\rdata:b\n\n", [message(b"a"), message(b"b")]),
    ("CR CRLF is two ends", b"data:a\r\r\ndata:b\n\n", [message(b"a"), message(b"b")]),
    (
        "no other ends",
        "data:a\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1eb\n\n".encode(),
        [message("a\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1eb".encode())],
    ),
    ("no space after the colon", b"data:a\n\n", [message(b"a")]),
    ("one space is taken off", b"data:  a\n\n", [message(b" a")]),
    ("a tab is not", b"data:\ta\n\n", [message(b"\ta")]),
    ("trailing space stays", b"data: a \n\n", [message(b"a ")]),
    ("more colons", b"data: a:b: c\n\n", [message(b"a:b: c")]),
    ("no colon", b"data\n\n", [message(b"")]),
    ("no colon, twice", b"data\ndata\n\n", [message(b"\n")]),
    ("empty data", b"data:\n\n", [message(b"")]),
    ("empty data with a space", b"data: \n\n", [message(b"")]),
    ("empty lines around data", b"data:\ndata: a\ndata:\n\n", [message(b"\na\n")]),
    ("NUL in data", b"data: a\0b\n\n", [message(b"a\0b")]),
    ("ill-formed UTF-8 in data", b"data: \xff\xf0\x9f\n\n", [message(b"\xff\xf0\x9f")]),
    ("nothing", b"", []),
    ("only blank lines", b"\n\n\r\n\r\r", []),
    ("no data, no event", b"event: a\n\n", []),
    ("open at the end", b"data: a\n\ndata: b\n", [message(b"a")]),
    ("open at the end, half a line", b"data: a\n\ndata: b", [message(b"a")]),
    ("case matters", b"DATA: a\nData: b\ndata: c\n\n", [message(b"c")]),
    ("space before the name", b" data: a\ndata: b\n\n", [message(b"b")]),
    ("space before the colon", b"data : a\ndata: b\n\n", [message(b"b")]),
    ("NUL in the name", b"data\0: a\ndata: b\n\n", [message(b"b")]),
    ("unknown fields", b"foo: bar\ndata: a\njustsometext\n\n", [message(b"a")]),
    ("comments", b":\n: data: x\n:data: y\ndata: a\n:\0\n\n", [message(b"a")]),
    ("a comment is no blank line", b"data: a\n:\ndata: b\n\n", [message(b"a\nb")]),
    ("a long comment", b":" + b"x" * 100_000 + b"\ndata: a\n\n", [message(b"a")]),
    ("one BOM", BOM + b"data: a\n\n", [message(b"a")]),
    ("two BOMs", BOM + BOM + b"data: a\n\ndata: b\n\n", [message(b"b")]),
    ("a BOM later on", b"data: a\n\n" + BOM + b"data: b\n\ndata: c\n\n", [message(b"a"), message(b"c")]),
    ("a BOM within data", b"data: " + BOM + b"\n\n", [message(BOM)]),
    ("half a BOM", BOM[:2] + b"data: a\n\ndata: b\n\n", [message(b"b")]),
    ("a UTF-16 BOM", b"\xff\xfedata: a\n\ndata: b\n\n", [message(b"b")]),
    ("a blank line first", BOM + b"\ndata: a\n\n", [message(b"a")]),
    ("name", b"event: tick\ndata: a\n\n", [Event("tick", b"a", "")]),
    ("the last name counts", b"event: a\nevent: b\ndata: x\n\n", [Event("b", b"x", "")]),
    ("an empty name is message", b"event: a\nevent\ndata: x\n\n", [message(b"x")]),
    ("a name holds for one event", b"event: a\ndata: x\n\ndata: y\n\n", [Event("a", b"x", ""), message(b"y")]),
    ("a name without data is forgotten", b"event: a\n\ndata: y\n\n", [message(b"y")]),
    ("a name keeps its spaces", b"event:  a \ndata: x\n\n", [Event(" a ", b"x", "")]),
    ("name not in ASCII", "event: é\xff\ndata: x\n\n".encode("latin-1"), [Event("\ufffd\ufffd", b"x", "")]),
    ("id", b"id: 1\ndata: a\n\n", [message(b"a", "1")]),
    ("an id holds on", b"id: 1\ndata: a\n\ndata: b\n\n", [message(b"a", "1"), message(b"b", "1")]),
    ("an id after the data", b"data: a\nid: 1\n\n", [message(b"a", "1")]),
    ("an empty id takes it back", b"id: 1\ndata: a\n\nid\ndata: b\n\n", [message(b"a", "1"), message(b"b", "")]),
    ("an id of a block without data", b"id: 1\n\ndata: b\n\n", [message(b"b", "1")]),
    ("NUL voids an id", b"id: 1\nid: 2\0\ndata: a\n\n", [message(b"a", "1")]),
    ("NUL alone voids an id", b"id: 1\nid: \0\ndata: a\n\n", [message(b"a", "1")]),
    ("id not in ASCII", "id: \u2026\ndata: a\n\n".encode(), [message(b"a", "\u2026")]),
    ("id ill-formed", b"id: \xc3\ndata: a\n\n", [message(b"a", "\ufffd")]),
    ("retry", b"retry: 3000\n", [Retry(3000)]),
    ("retry needs no blank line, and comes first", b"data: a\nretry: 1\n\n", [Retry(1), message(b"a")]),
    ("retry, each of them", b"retry: 1\nretry: 2\n", [Retry(1), Retry(2)]),
    ("retry with zeros", b"retry: 000\nretry: 0010\n", [Retry(0), Retry(10)]),
    ("retry too large", b"retry: " + b"9" * 5000 + b"\n", [Retry(MAX_RETRY)]),
    ("retry, a large number of zeros", b"retry: " + b"0" * 5000 + b"1\n", [Retry(1)]),
    (
        "bogus retry",
        (
            b"retry\nretry:\nretry: \nretry: 3000x\nretry: x3\nretry: 1 000\nretry:  1\nretry: 1 \nretry: -1\n"
            b"retry: +1\nretry: 1.5\n"
            b"retry: 1e3\nretry: 0x10\nretry: 1_0\nretry: \xd9\xa1\nretry: \xc2\xb2\nretry: 1\0\n"
        ),
        [],
    ),
]  # fmt: skip


class TableTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """
        Each stream of the table says what the table says.
        """
        for name, stream, expected in TABLE:
            self.assertEqual(expected, EventParser().feed(stream), name)

    def test_byte_by_byte(self) -> None:
        """
        The same when every byte comes alone.
        """
        for name, stream, expected in TABLE:
            parser = EventParser()
            found = [item for index in range(len(stream)) for item in parser.feed(stream[index : index + 1])]

            self.assertEqual(expected, found, name)

    def test_reference(self) -> None:
        """
        The reference implementation agrees with the table, so it is fit to be one.
        """
        for name, stream, expected in TABLE:
            # The reference has text, and no bound on numbers of which Python would refuse the longest.
            if "large" not in name:
                self.assertEqual(list(map(_readable, expected)), list(map(_readable, parse(stream)[0])), name)


def _readable(item: Event | Retry) -> object:
    return item if isinstance(item, Retry) else (item.name, item.data, item.id)


class ChunkTests(SynchronousTestCase):
    def test_carriage_return_ends_at_once(self) -> None:
        """
        A CR is the end of its line without a look at what follows, or the event would come one event late.
        """
        self.assertEqual([message(b"a")], EventParser().feed(b"data: a\r\r"))

    def test_split_crlf(self) -> None:
        """
        A line feed that comes later than its CR is not another end.
        """
        parser = EventParser()

        self.assertEqual([], parser.feed(b"data: a\r"))
        self.assertEqual([], parser.feed(b"\n"))
        self.assertEqual([], parser.feed(b"data: b\r"))
        self.assertEqual([message(b"a\nb")], parser.feed(b"\n\r"))
        self.assertEqual([], parser.feed(b""))
        self.assertEqual([], parser.feed(b"\n"))
        self.assertEqual([message(b"c")], parser.feed(b"data: c\n\n"))

    def test_more_than_a_window(self) -> None:
        """
        One huge chunk with many events and line ends of two bytes is cut into no wrong pieces.
        """
        count = 40_000

        self.assertEqual([message(b"a")] * count, EventParser().feed(b"data:a\r\n\r\n" * count))

    @bounded
    @given(streams, places)
    def test_splits(self, stream: bytes, at: list[int]) -> None:
        """
        Wherever a stream is cut, it says the same.
        """
        whole = EventParser()
        pieces = EventParser()

        expected = whole.feed(stream)
        found = [item for chunk in cut(stream, at) for item in pieces.feed(chunk)]

        self.assertEqual((expected, whole.last_event_id), (found, pieces.last_event_id))

    @bounded
    @given(streams)
    def test_agrees_with_reference(self, stream: bytes) -> None:
        """
        Any stream says what the standard's text says.
        """
        parser = EventParser()

        found = parser.feed(stream)

        expected, last_event_id = parse(stream)
        self.assertEqual(list(map(_readable, expected)), list(map(_readable, found)))
        self.assertEqual(last_event_id, parser.last_event_id)

    @bounded
    @given(st.lists(st.binary(max_size=200), max_size=20))
    def test_any_bytes(self, chunks: list[bytes]) -> None:
        """
        Nothing but the named error is ever raised, and what is kept stays within the limit.
        """
        parser = EventParser(max_event_size=64)
        try:
            for chunk in chunks:
                for item in parser.feed(chunk):
                    if isinstance(item, Event):
                        self.assertLessEqual(len(item.raw), 64)
        except EventTooLarge:
            pass

        self.assertLessEqual(len(parser._line) + len(parser._data or b""), 2 * 64 + len(b"data: "))


class LastEventIdTests(SynchronousTestCase):
    def test_commits_at_blank_line(self) -> None:
        """
        An id counts from the end of its block on, with data or without.
        """
        parser = EventParser()

        parser.feed(b"id: 1\n")
        before = parser.last_event_id
        parser.feed(b"\n")

        self.assertEqual(("", "1"), (before, parser.last_event_id))

    def test_open_block(self) -> None:
        """
        The id of an event that never ended is not one to come back with.
        """
        parser = EventParser()

        parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")

        self.assertEqual("1", parser.last_event_id)

    def test_carried_over(self) -> None:
        """
        Events of a new connection go by the last id of the old one, until the server says another.
        """
        parser = EventParser(last_event_id="7")

        self.assertEqual("7", parser.last_event_id)
        self.assertEqual([message(b"a", "7"), message(b"b", "8")], parser.feed(b"data: a\n\nid: 8\ndata: b\n\n"))


class LimitTests(SynchronousTestCase):
    def assertBreach(self, expected: str, parser: EventParser, *chunks: bytes) -> EventTooLarge:
        try:
            for chunk in chunks:
                parser.feed(chunk)
        except EventTooLarge as error:
            self.assertEqual(expected, str(error))
            return error
        self.fail(f"accepted, in spite of: {expected}")

    def test_exactly(self) -> None:
        """
        An event of the size that is allowed is allowed.
        """
        self.assertEqual([message(b"x" * 10)], EventParser(max_event_size=10).feed(b"data: " + b"x" * 10 + b"\n\n"))
        self.assertEqual([message(b"xxxx\nxxxxx")], EventParser(max_event_size=10).feed(b"data:xxxx\ndata:xxxxx\n\n"))

    def test_event(self) -> None:
        """
        One byte more is not, in one line or in several.
        """
        self.assertBreach(
            "an event is larger than 10 bytes", EventParser(max_event_size=10), b"data:" + b"x" * 11 + b"\n"
        )
        self.assertBreach(
            "an event is larger than 10 bytes", EventParser(max_event_size=10), b"data:xxxxx\ndata:xxxxx\n"
        )

    def test_empty_lines_count(self) -> None:
        """
        Data that is nothing but line ends is data.
        """
        self.assertBreach("an event is larger than 10 bytes", EventParser(max_event_size=10), b"data\n" * 12)

    def test_line(self) -> None:
        """
        A line that does not end is refused as soon as it is too long, whatever its field.
        """
        self.assertBreach("a line is larger than 16 bytes", EventParser(max_event_size=10), b":" * 9, b"x" * 8)
        self.assertBreach("a line is larger than 16 bytes", EventParser(max_event_size=10), b":" * 17 + b"\n")
        self.assertBreach("a line is larger than 16 bytes", EventParser(max_event_size=10), b"x" * 16, b"x\n")

    def test_id_and_name(self) -> None:
        """
        Ids and names have limits of their own.
        """
        self.assertEqual([], EventParser().feed(b"id:" + b"x" * 1024 + b"\nevent:" + b"x" * 256 + b"\n"))
        self.assertBreach("an event id is larger than 1024 bytes", EventParser(), b"id:" + b"x" * 1025 + b"\n")
        self.assertBreach("an event name is larger than 256 bytes", EventParser(), b"event:" + b"x" * 257 + b"\n")

    def test_what_came_before(self) -> None:
        """
        Events that were complete before the breach are not lost with it.
        """
        error = self.assertBreach(
            "an event id is larger than 1024 bytes", EventParser(), b"data:a\n\nid:" + b"x" * 1025 + b"\n"
        )

        self.assertEqual([message(b"a")], error.completed)

    def test_stays_broken(self) -> None:
        """
        There is no way back into a stream after a breach.
        """
        parser = EventParser(max_event_size=10)
        self.assertBreach("a line is larger than 16 bytes", parser, b"x" * 17)

        error = self.assertBreach("a line is larger than 16 bytes", parser, b"\n\ndata: a\n\n")

        self.assertEqual([], error.completed)

    def _peak(self, chunk: bytes, count: int, limit: int) -> int:
        parser = EventParser(max_event_size=limit)
        tracemalloc.start()
        try:
            for _ in range(count):
                parser.feed(chunk)
            return tracemalloc.get_traced_memory()[1]
        except EventTooLarge:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_memory(self) -> None:
        """
        What a stream of the worst shape costs is in proportion to the limit, not to the number of its pieces.
        """
        limit = 256 * 1024

        for name, chunk in {
            "drip": b"ab",
            "empty data lines": b"data\n" * 1000,
            "short data lines": b"data:ab\n" * 1000,
            "comment": b":" * 1000,
        }.items():
            self.assertLess(self._peak(chunk, limit, limit), 4 * limit, name)

    def test_huge_chunk(self) -> None:
        """
        A chunk full of line ends is not turned into as many objects at once.
        """
        chunk = b"x\n" * (2 * 1024 * 1024)

        self.assertLess(self._peak(chunk, 1, 1024), len(chunk))

    def test_large_event(self) -> None:
        """
        A large event in many chunks costs about twice its size: once as it gathers, once as it is handed over.
        """
        parser = EventParser()
        size = 4 * 1024 * 1024
        chunks = [b"data: ", *([b"x" * 65536] * (size // 65536)), b"\n", b"\n"]
        tracemalloc.start()
        try:
            found = [item for chunk in chunks for item in parser.feed(chunk)]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        self.assertEqual([message(b"x" * size)], found)
        self.assertLess(peak, 2.3 * size)
