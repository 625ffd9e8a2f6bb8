"""Tests of L{mcpbridge.configuration.table}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.jsonc import loads
from mcpbridge.configuration.report import Report
from mcpbridge.configuration.table import Table


class TableTests(SynchronousTestCase):
    """L{Table}."""

    def setUp(self) -> None:
        self.report = Report("")

    def table(self, members: dict[str, Any]) -> Table:
        """A table at C{t}."""
        return Table(members, ("t",), self.report, {"VAR": "value"})

    def test_members(self) -> None:
        """Each kind of member comes out as what it is, strings expanded, times in seconds."""
        table = self.table(
            {"s": "${VAR}", "l": ["a", "${VAR}"], "m": {"k": "${VAR}"}, "f": False, "i": 3.0, "ms": 1500, "c": "x"}
        )

        self.assertEqual(
            ("value", ("a", "value"), {"k": "value"}, False, 3, 1.5, 7, []),
            (
                table.text("s"),
                table.texts("l"),
                table.text_map("m"),
                table.flag("f"),
                table.integer("i", 1, 3),
                table.milliseconds("ms", 1, 2000),
                table.choice("c", {"x": 7}),
                self.report.errors,
            ),
        )

    def test_absent(self) -> None:
        """What is not there is no mistake."""
        table = self.table({})

        self.assertEqual(
            (None, (), {}, None, None, None, None, None, []),
            (
                table.text("a"),
                table.texts("a"),
                table.text_map("a"),
                table.flag("a"),
                table.integer("a", 1, 3),
                table.milliseconds("a", 1, 3),
                table.choice("a", {}),
                table.table("a"),
                self.report.errors,
            ),
        )

    def test_wrong_kinds(self) -> None:
        """A member of another kind is told by both kinds; null is no way to leave something out."""
        table = self.table({"a": 1, "b": "x", "c": [True, None], "d": {"k": 1.5}, "e": 0, "f": True, "g": None})

        table.text("a")
        table.texts("b")
        table.texts("c")
        table.text_map("d")
        table.flag("e")
        table.integer("f", 0, 1)
        table.text("g")

        self.assertEqual(
            [
                "t.a: must be a string, not a number; put it in quotes",
                "t.b: must be a list, not a string",
                "t.c[0]: must be a string, not true or false; put it in quotes",
                "t.c[1]: must be a string, not null",
                "t.d.k: must be a string, not a number; put it in quotes",
                "t.e: must be true or false, not a number",
                "t.f: must be a number, not true or false",
                "t.g: must be a string, not null",
            ],
            self.report.errors,
        )

    def test_bounds(self) -> None:
        """Numbers stay within their bounds, however large they are."""
        table = self.table(loads('{"a": 0, "b": 4, "c": 1e400, "d": %s, "e": 1.5}' % ("9" * 999)))

        values = [table.integer(name, 1, 3) for name in "abcde"]

        self.assertEqual([None] * 5, values)
        self.assertEqual(
            [f"t.{name}: must be from 1 to 3" for name in "abcd"] + ["t.e: must be a whole number"], self.report.errors
        )

    def test_choice_shows_what_was_written(self) -> None:
        """What a variable holds is not shown, only its name."""
        self.table({"c": "${VAR}"}).choice("c", {"valve": 1})

        self.assertEqual(['t.c: must be one of "valve"'], self.report.errors)

    def test_nul(self) -> None:
        """No argument and no path can hold NUL."""
        self.table({"a": "x\0"}).text("a")

        self.assertEqual(["t.a: must not hold a NUL character"], self.report.errors)

    def test_foreign_reference(self) -> None:
        """Another program's reference is told without its name, which may be anything."""
        self.table({"a": "${env:VAR}"}).text("a")

        self.assertEqual(["t.a: ${env:...} is another program's spelling; write ${NAME}"], self.report.errors)

    def test_close(self) -> None:
        """Members that nobody asked for are errors or warnings, by what is known of them."""
        table = self.table({"known": "x", "there": 1, "theirs": 2, "old": 3, "knwon": 4, "???": 5})
        table.text("known")

        table.close({"there": "belongs there"}, {"theirs": "is theirs"}, {"old": "new"})

        self.assertEqual(
            (
                [
                    "t.there: belongs there",
                    't.old: unknown key; did you mean "new"?',
                    't.knwon: unknown key; did you mean "known"?',
                    't."???": unknown key',
                ],
                ["t.theirs: is theirs"],
            ),
            (self.report.errors, self.report.warnings),
        )
