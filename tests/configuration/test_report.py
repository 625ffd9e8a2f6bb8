"""Tests of L{mcpbridge.configuration.report}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.report import InvalidConfiguration, Report, near_match, shown, suggestion


class NearMatchTests(SynchronousTestCase):
    """L{near_match}."""

    def test_typing_mistakes(self) -> None:
        """Letters left out, swapped, or in another case lead to the name that was meant."""
        names = ("command", "url", "idleTimeout", "per-client")
        table = {
            "comand": "command",
            "Command": "command",
            "commnad": "command",
            "URL": "url",
            "idle_timeout": "idleTimeout",
            "perClient": "per-client",
            "xyzzy": None,
            "": None,
            "c" * 100_000: None,
        }

        self.assertEqual(table, {name: near_match(name, names) for name in table})

    def test_suggestion(self) -> None:
        """It is put as a question, or not at all."""
        self.assertEqual('; did you mean "linear"?', suggestion("liner", ["github", "linear"]))
        self.assertEqual("", suggestion("x", ["github", "linear"]))


class ReportTests(SynchronousTestCase):
    """L{Report}, and what is said in it."""

    def test_places(self) -> None:
        """A place names the source and the path to the member."""
        report = Report("/etc/x.json")

        report.wrong((), "is empty")
        report.wrong(("mcpServers", "github", "args", 2), "must be a string")
        report.odd(("mcpServers", "my.server", "x y"), "is odd")

        self.assertEqual(
            (
                ["/etc/x.json: is empty", "/etc/x.json: mcpServers.github.args[2]: must be a string"],
                ['/etc/x.json: mcpServers."my.server"."x y": is odd'],
            ),
            (report.errors, report.warnings),
        )

    def test_hostile_names(self) -> None:
        """A name cannot break out of its line, nor fill the screen."""
        self.assertEqual('"\\n\\u001b[2J".' + '"' + "\\u202e" * 64 + '"', shown(("\n\x1b[2J", "\u202e" * 1000)))

    def test_error_is_one_line(self) -> None:
        """The exception's text is one line; its problems can be listed."""
        error = InvalidConfiguration(["a: x", "b: y"])

        self.assertEqual(("a: x; b: y", ("a: x", "b: y")), (str(error), error.problems))
