"""Tests of L{mcpbridge.service.logs}."""

from __future__ import annotations

import io
import json
from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.service.logs import FORMATS, LEVELS, json_line, observer, text_line

#: 2026-11-22, 10:30 and a bit.
NOW = 1795343400.1239


def event(**members: Any) -> dict[str, Any]:
    """A record as twisted.logger makes it."""
    return {
        "log_time": NOW,
        "log_level": LogLevel.info,
        "log_namespace": "mcpbridge.service.daemon",
        "log_format": "{upstream} lost",
        "upstream": "linear",
    } | members


class Unprintable:
    """An object that does not want to be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def failure(message: str) -> Failure:
    """A failure that was raised."""
    try:
        raise ValueError(message)
    except ValueError:
        return Failure()


class TextTests(SynchronousTestCase):
    """L{text_line}."""

    def test_line(self) -> None:
        """Time in UTC, level, who, what."""
        self.assertEqual("2026-11-22T10:30:00.123Z info mcpbridge.service.daemon: linear lost", text_line(event()))

    def test_foreign_text(self) -> None:
        """Nothing in a record ends its line, moves the cursor or turns the text round."""
        line = text_line(event(upstream="a\n2026 info forged\r\x1b[2J\x9b\u202eb\ud800"))

        self.assertTrue(line.endswith(r": a\n2026 info forged\r\x1b[2J\x9b\u202eb\ud800 lost"), line)

    def test_traceback(self) -> None:
        """A traceback stands behind its message, on the same line."""
        line = text_line(event(log_failure=failure("bad\x07")))

        self.assertIn(r"linear lost | Traceback", line)
        self.assertIn(r"ValueError: bad\x07", line)
        self.assertEqual(1, len(line.splitlines()))

    def test_long(self) -> None:
        """A record has an end."""
        self.assertLess(len(text_line(event(upstream="x" * 1_000_000, log_failure=failure("y" * 1_000_000)))), 30_000)

    def test_bad_records(self) -> None:
        """A record that is not made well is written all the same."""
        records = [
            {},
            event(log_format="{no"),
            event(log_format="{missing}"),
            event(log_format="{upstream}", upstream=Unprintable()),
            event(log_failure=object()),
            event(log_time=None, log_namespace=None, log_level=None),
        ]

        for record in records:
            self.assertEqual(1, len(text_line(record).splitlines()))
            json.loads(json_line(record))


class JSONTests(SynchronousTestCase):
    """L{json_line}."""

    def test_line(self) -> None:
        """One object with the message, and what it was made of as far as that is plain."""
        record = json.loads(json_line(event(calls=3, secs=0.5, ok=True, none=None, thing=object(), upstream="a\nb")))

        self.assertEqual(
            {
                "time": "2026-11-22T10:30:00.123Z",
                "level": "info",
                "logger": "mcpbridge.service.daemon",
                "message": "a\\nb lost",
                "fields": {"calls": 3, "secs": 0.5, "ok": True, "none": None, "upstream": "a\\nb"},
            },
            record,
        )

    def test_traceback(self) -> None:
        """A traceback is a member."""
        self.assertIn("ValueError: bad", json.loads(json_line(event(log_failure=failure("bad"))))["traceback"])

    def test_numbers_that_json_does_not_have(self) -> None:
        """They do not spoil the line for a strict reader."""
        line = json_line(event(a=float("nan"), b=float("-inf")))

        self.assertEqual(
            {"a": "nan", "b": "-inf", "upstream": "linear"}, json.loads(line, parse_constant=self.fail)["fields"]
        )


class ObserverTests(SynchronousTestCase):
    """L{observer}."""

    def test_provides(self) -> None:
        """It is an observer, in every form and at every level."""
        for form in FORMATS:
            for level in LEVELS:
                verifyObject(ILogObserver, observer(io.StringIO(), form, level))

    def test_level(self) -> None:
        """What is weaker than the level is not written."""
        stream = io.StringIO()
        log = Logger(namespace="n", observer=observer(stream, "text", "warn"))

        log.info("one")
        log.warn("two")
        log.error("three")

        self.assertEqual(["warn n: two", "error n: three"], [line[25:] for line in stream.getvalue().splitlines()])

    def test_chatter(self) -> None:
        """What Twisted says of each connection is for debugging; its warnings are not."""
        info, debug = io.StringIO(), io.StringIO()
        for stream, level in ((info, "info"), (debug, "debug")):
            log = Logger(namespace="twisted.web.client", observer=observer(stream, "text", level))
            log.info("Starting factory")
            log.warn("odd")

        self.assertEqual(
            ([" odd"], 2), ([line[-4:] for line in info.getvalue().splitlines()], debug.getvalue().count("\n"))
        )

    def test_legacy(self) -> None:
        """Records of the old interface are chatter too, and bring no fields."""
        stream = io.StringIO()
        record = event(log_namespace="log_legacy", log_legacy=object(), system="-", isError=0)

        observer(stream, "json", "info")(record)
        observer(stream, "json", "debug")(record)

        self.assertEqual(["level", "logger", "message", "time"], sorted(json.loads(stream.getvalue())))

    def test_stream_that_fails(self) -> None:
        """A full disk or a closed stream costs records, not the daemon."""
        closed = io.StringIO()
        closed.close()
        broken = observer(closed, "text", "info")

        broken(event())
        broken(event())

        self.assertEqual(2, broken.dropped)
