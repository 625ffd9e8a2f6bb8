"""Tests of L{mcpbridge.configuration.entries}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.entries import read_entry
from mcpbridge.configuration.facts import ChildUpstream, HTTPUpstream, Settings, Sharing, Upstream
from mcpbridge.configuration.report import Report
from mcpbridge.configuration.table import Table


class EntryCase(SynchronousTestCase):
    """Reads one entry named C{s}."""

    def setUp(self) -> None:
        self.report = Report("")

    def read(self, members: dict[str, Any], name: str = "s") -> Upstream | None:
        """The server, whatever is wrong with it."""
        table = Table(members, (name,), self.report, {"TOKEN": "s3cret", "LINE": "s3cret\n"})
        return read_entry(name, table, Settings(), None)

    def sound(self, members: dict[str, Any]) -> Upstream | None:
        """The server, of which nothing may be wrong."""
        upstream = self.read(members)
        self.assertEqual([], self.report.errors)
        return upstream

    def errors(self, members: dict[str, Any], name: str = "s") -> list[str]:
        """What is wrong with these members."""
        self.report = Report("")
        self.read(members, name)
        return self.report.errors


class KindTests(EntryCase):
    """What makes a server one kind or the other."""

    def test_http(self) -> None:
        """A URL makes a server that is called; its transport is found out unless it is named."""
        kinds = {
            None: "auto",
            "http": "auto",
            "streamable-http": "streamable-http",
            "streamableHttp": "streamable-http",
        }
        url = "https://host/mcp"

        found = {kind: self.sound({"url": url} | ({} if kind is None else {"type": kind})) for kind in (*kinds, "sse")}

        self.assertEqual(
            {kind: HTTPUpstream("s", url, transport) for kind, transport in (kinds | {"sse": "sse"}).items()},  # type: ignore[arg-type]  # words of a table
            found,
        )

    def test_child(self) -> None:
        """A command makes a server that is started."""
        members = {
            "type": "stdio",
            "command": "npx",
            "args": ["-y", "${TOKEN}"],
            "env": {"K": "${TOKEN}"},
            "cwd": "/srv",
        }

        self.assertEqual(ChildUpstream("s", "npx", ("-y", "s3cret"), {"K": "s3cret"}, "/srv"), self.sound(members))

    def test_neither_and_both(self) -> None:
        """An entry without any of the two, with both, or with the wrong type, is none."""
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({}, ['s: needs "command" (a program to start) or "url" (a server to call)']),
            ({"url": "https://h/", "command": "x"}, ['s: has both "url" and "command"; which one is it?']),
            ({"type": "http"}, ['s: has no "url"']),
            ({"type": "stdio"}, ['s: has no "command"']),
            ({"type": "stdio", "url": "https://h/"}, ['s.type: is "stdio", but there is a "url"']),
            ({"type": "sse", "command": "x"}, ['s.type: is for a server with "url", but there is a "command"']),
            ({"url": "https://h/", "args": []}, ['s.args: belongs to a server with "command", not "url"']),
            ({"command": "x", "headers": {}}, ['s.headers: belongs to a server with "url", not "command"']),
            ({"command": " "}, ["s.command: must not be empty"]),
            ({"command": "x", "cwd": ""}, ["s.cwd: must not be empty"]),
        ]

        self.assertEqual([errors for _, errors in cases], [self.errors(members) for members, _ in cases])

    def test_switched_off(self) -> None:
        """A server that is switched off is left out, and nothing of it is looked at."""
        self.assertEqual(
            [None, None, []],
            [
                self.read({"disabled": True, "url": "${NONE}", "nonsense": 1}),
                self.read({"enabled": False}),
                self.report.errors,
            ],
        )
        self.assertIsNotNone(self.sound({"disabled": False, "enabled": True, "command": "x"}))


class NamesTests(EntryCase):
    """What a server may be called."""

    def test_refused(self) -> None:
        """What cannot be written on a command line, in a log, or be told from a URL, is no name."""
        names = ("", " a", "-a", "a\nb", "https://a", "x" * 129)

        self.assertEqual([1] * len(names), [len(self.errors({"command": "x"}, name)) for name in names])

    def test_allowed(self) -> None:
        """Other names are, with spaces and dots, in every script."""
        for name in ("linear", "claude.ai Linear", "文档", "a/b:c@d"):
            self.assertEqual([], self.errors({"command": "x"}, name))


class HeadersTests(EntryCase):
    """C{headers}."""

    def test_values(self) -> None:
        """They are expanded, white space around them is nobody's."""
        upstream = self.sound({"url": "https://h/", "headers": {"X-Key": " Bearer ${TOKEN} ", "X-A": ""}})

        self.assertEqual(HTTPUpstream("s", "https://h/", headers={"X-Key": "Bearer s3cret", "X-A": ""}), upstream)

    def test_refused(self) -> None:
        """Each thing that a header cannot be is told, and no value is."""
        table = {
            "X Y": "a",
            "": "a",
            "Mcp-Session-Id": "a",
            "content-length": "1",
            "X-A": "a",
            "x-a": "a",
            "X-Line": "${LINE}",
            "X-Umlaut": "ä",
            "X-Bell": "\x07",
        }

        self.assertEqual(
            [
                's.headers."X Y": this is no header name',
                's.headers."": this is no header name',
                "s.headers.Mcp-Session-Id: mcpbridge sets this header itself",
                "s.headers.content-length: mcpbridge sets this header itself",
                "s.headers.x-a: the same header twice; upper and lower case make no difference",
                "s.headers.X-Line: the value holds a line break (a variable that ends with one?)",
                "s.headers.X-Umlaut: the value holds a character that is not printable ASCII",
                "s.headers.X-Bell: the value holds a character that is not printable ASCII",
            ],
            self.errors({"url": "https://h/", "headers": table}),
        )


class EnvironmentTests(EntryCase):
    """C{env}."""

    def test_refused(self) -> None:
        """Names that no process can have, and the one that is ours."""
        errors = self.errors({"command": "x", "env": {"A=B": "", "": "", "MCPBRIDGE_INSTANCE": "x", "OK": "x"}})

        self.assertEqual(
            [
                "s.env: the name of a variable must not be empty, nor hold = or NUL",
                "s.env: the name of a variable must not be empty, nor hold = or NUL",
                "s.env: MCPBRIDGE_INSTANCE is how mcpbridge finds its children; choose another name",
            ],
            errors,
        )


class SettingsTests(EntryCase):
    """The keys about how a server is used."""

    def test_all(self) -> None:
        """Times are written in milliseconds and come out in seconds."""
        upstream = self.sound(
            {
                "command": "x",
                "session": "per-client",
                "snapshot": False,
                "timeout": 60000,
                "initializeTimeout": 2500,
                "idleTimeout": 0,
                "maxSessions": 4,
                "maxMessage": 1048576,
            }
        )

        settings = Settings(Sharing.PER_CLIENT, False, 60.0, 2.5, 0.0, 4, 1048576)
        self.assertEqual(ChildUpstream("s", "x", settings=settings), upstream)

    def test_refused(self) -> None:
        """Out of bounds is wrong, and a wrong word is told with the right ones."""
        errors = self.errors(
            {"command": "x", "session": "Shared", "timeout": 0, "maxSessions": 0, "maxMessage": 1, "snapshot": "no"}
        )

        self.assertEqual(
            [
                "s.timeout: must be from 1 to 86400000 milliseconds",
                's.session: must be one of "persistent", "per-client", "shared"; did you mean "shared"?',
                "s.snapshot: must be true or false, not a string",
                "s.maxSessions: must be from 1 to 1024",
                "s.maxMessage: must be from 65536 to 1073741824",
            ],
            errors,
        )

    def test_seconds_by_mistake(self) -> None:
        """A time-out under a second is honoured, with a warning: some programs count in seconds."""
        self.sound({"command": "x", "timeout": 60})

        self.assertEqual(["s.timeout: is in milliseconds: a call may take 0.06 s only"], self.report.warnings)


class OtherProgramsTests(EntryCase):
    """Keys of other programs."""

    def test_tolerated(self) -> None:
        """What means nothing here is a warning, in every kind of entry."""
        self.sound({"command": "x", "autoApprove": [], "alwaysAllow": 1, "description": "d"})

        self.assertEqual(
            [
                "s.autoApprove: is the client's business; ignored",
                "s.alwaysAllow: is the client's business; ignored",
                "s.description: is the client's business; ignored",
            ],
            self.report.warnings,
        )

    def test_other_spellings(self) -> None:
        """Other programs' names for our keys lead to ours."""
        self.assertEqual(
            [
                's: needs "command" (a program to start) or "url" (a server to call)',
                's.httpUrl: unknown key; did you mean "url"?',
                's.transport: unknown key; did you mean "type"?',
            ],
            self.errors({"httpUrl": "https://h/", "transport": "http"}),
        )
        self.assertEqual(
            ['s.envFile: unknown key; did you mean "env"?'], self.errors({"command": "x", "envFile": ".env"})
        )
