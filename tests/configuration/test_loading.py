"""Tests of L{mcpbridge.configuration.loading}."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.facts import ChildUpstream, Configuration, HTTPUpstream, Settings, Sharing
from mcpbridge.configuration.loading import MAX_DOCUMENT, load, unknown_server
from mcpbridge.configuration.report import InvalidConfiguration


class LoadingCase(SynchronousTestCase):
    """A home of its own, so that nothing of the real user is read."""

    def setUp(self) -> None:
        self.home = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(self.home, ".config", "mcpbridge"))
        self.default_path = os.path.join(self.home, ".config", "mcpbridge", "config.json")
        self.environment = {"HOME": self.home}

    def write(self, text: str | bytes, path: str | None = None) -> str:
        """Write a configuration file; the default one unless told otherwise."""
        path = path or self.default_path
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    def problems(self, path: str | None = None, inline: str | None = None) -> tuple[str, ...]:
        """What is wrong, without the name of the file."""
        error = self.assertRaises(InvalidConfiguration, load, self.environment, path=path, inline=inline)
        return tuple(problem.replace(f"{path or self.default_path}: ", "") for problem in error.problems)


class SourcesTests(LoadingCase):
    """Where the configuration comes from."""

    def test_nothing(self) -> None:
        """Without any configuration the built-in server is there, and a warning says so."""
        configuration = load(self.environment)

        demo = configuration.upstreams["demo"]
        self.assertIsInstance(demo, ChildUpstream)
        self.assertEqual(
            (
                ["demo"],
                (f'no configuration yet ({self.default_path}): only the built-in server "demo" is there',),
                sys.executable,
            ),
            ([*configuration.upstreams], configuration.warnings, getattr(demo, "command", None)),
        )

    def test_default_file(self) -> None:
        """The file in the XDG place is read."""
        self.write('{"mcpServers": {"a": {"url": "https://a/"}}}')

        self.assertEqual(
            Configuration({"a": HTTPUpstream("a", "https://a/")}, sources=(self.default_path,)), load(self.environment)
        )

    def test_empty_file(self) -> None:
        """A file that names no server means that there is none; byte order marks are no part of it."""
        self.write(b"\xef\xbb\xbf{}")

        self.assertEqual({}, dict(load(self.environment).upstreams))

    def test_named_file(self) -> None:
        """A file that was asked for, by argument or by environment, is read in place of the default one."""
        self.write('{"mcpServers": {"a": {"url": "https://a/"}}}')
        other = self.write('{"mcpServers": {"b": {"url": "https://b/"}}}', os.path.join(self.home, "other.json"))

        by_argument = load({**self.environment, "MCPBRIDGE_CONFIG": "/nowhere"}, path=other)
        by_environment = load({**self.environment, "MCPBRIDGE_CONFIG": other})

        self.assertEqual((["b"], by_argument), ([*by_argument.upstreams], by_environment))

    def test_missing_named_file(self) -> None:
        """A file that was asked for has to be there."""
        path = os.path.join(self.home, "none.json")

        self.assertEqual(("there is no such file",), self.problems(path))

    def test_unreadable(self) -> None:
        """A folder, bytes that are no text, and what is too large for a configuration are refused."""
        large = self.write(b" " * (MAX_DOCUMENT + 1), os.path.join(self.home, "large"))
        binary = self.write(b'{"a\xff": 1}', os.path.join(self.home, "binary"))

        self.assertEqual(
            (
                ("cannot be read: Is a directory",),
                ("is larger than 4 MiB: no configuration is",),
                ("byte 3 is not UTF-8",),
            ),
            (self.problems(self.home), self.problems(large), self.problems(binary)),
        )

    def test_inline(self) -> None:
        """Inline text holds the servers, by themselves or as in a file, by argument or by environment."""
        bare = '{"a": {"url": "https://a/"}}'
        whole = '{"mcpServers": {"a": {"url": "https://a/"}}}'
        expected = Configuration({"a": HTTPUpstream("a", "https://a/")}, sources=("MCPBRIDGE_SERVERS",))

        for configuration in (
            load(self.environment, inline=bare),
            load(self.environment, inline=whole),
            load({**self.environment, "MCPBRIDGE_SERVERS": bare}),
        ):
            self.assertEqual(expected, configuration)

    def test_inline_over_file(self) -> None:
        """An inline entry stands in place of the file's of the same name, which is not even looked at."""
        self.write('{"mcpServers": {"a": {"url": "${NONE}"}, "b": {"url": "https://b/"}}}')

        configuration = load(self.environment, inline='{"a": {"command": "x"}}')

        self.assertEqual(
            {"a": ChildUpstream("a", "x"), "b": HTTPUpstream("b", "https://b/")}, dict(configuration.upstreams)
        )

    def test_servers_with_odd_names(self) -> None:
        """Servers may be named like the object that holds them."""
        configuration = load(
            self.environment, inline='{"servers": {"url": "https://a/"}, "mcpbridge": {"command": "x"}}'
        )

        self.assertEqual(["servers", "mcpbridge"], [*configuration.upstreams])

    def test_relative_folder(self) -> None:
        """A relative C{cwd} in a file is relative to the file's folder."""
        path = self.write('{"mcpServers": {"a": {"command": "x", "cwd": "work"}}}', os.path.join(self.home, "c.json"))

        configuration = load(self.environment, path=path, inline='{"b": {"command": "x", "cwd": "work"}}')

        self.assertEqual(
            [os.path.join(self.home, "work"), "work"],
            [getattr(up, "cwd", None) for up in configuration.upstreams.values()],
        )


class DocumentTests(LoadingCase):
    """The outermost object."""

    def test_not_json(self) -> None:
        """The line of a mistake is named."""
        self.write('{\n "mcpServers": {,}\n}')

        self.assertEqual(("line 2, column 17: Expecting property name enclosed in double quotes",), self.problems())

    def test_not_an_object(self) -> None:
        """Only an object will do, here and below."""
        self.assertEqual(('MCPBRIDGE_SERVERS: must be an object: {"mcpServers": {...}}',), self.problems(inline="[]"))
        self.write('{"mcpServers": [], "mcpbridge": 1}')
        self.assertEqual(
            ("mcpServers: must be an object, not a list", "mcpbridge: must be an object, not a number"), self.problems()
        )

    def test_near_matches(self) -> None:
        """What other programs call the servers leads to the right name, inline as well."""
        self.write('{"servers": {}, "mcpbrige": {}, "$schema": "x", "inputs": []}')

        self.assertEqual(
            (
                'servers: unknown key; did you mean "mcpServers"?',
                'mcpbrige: unknown key; did you mean "mcpbridge"?',
                'MCPBRIDGE_SERVERS: servers: unknown key; did you mean "mcpServers"?',
            ),
            self.problems(inline='{"servers": {"a": {"url": "https://a/"}}}'),
        )

    def test_written_twice(self) -> None:
        """A name that is there twice is an error: one of the two is lost silently everywhere else."""
        self.write('{"mcpServers": {"a": {"url": "https://a/", "url": "https://b/"}, "a": {"command": "x"}}}')

        self.assertEqual(("mcpServers.a: is written twice; keep one",), self.problems())

    def test_everything_at_once(self) -> None:
        """All mistakes of all sources are told together, and no value is."""
        self.write(
            """{
                "mcpServers": {
                    "linear": {"comand": "s3cret"},
                    "github": {"url": "https://s3cret:x@h/", "headers": {"Authorization": "s3cret ${GITHUB_TOKEN}"}},
                },
                "mcpbridge": {"defaults": {"timeout": "s3cret"}},
            }"""
        )

        error = self.assertRaises(InvalidConfiguration, load, self.environment, inline='{"b": "s3cret"}')

        place = self.default_path
        userinfo = 'this URL holds a user name or a password; send them in "headers" as Authorization'
        missing = "the environment variable GITHUB_TOKEN is not set; set it, or write ${GITHUB_TOKEN:-a default}"
        self.assertEqual(
            (
                f"{place}: mcpbridge.defaults.timeout: must be a number, not a string",
                "MCPBRIDGE_SERVERS: mcpServers.b: must be an object, not a string",
                f'{place}: mcpServers.linear: needs "command" (a program to start) or "url" (a server to call)',
                f'{place}: mcpServers.linear.comand: unknown key; did you mean "command"?',
                f"{place}: mcpServers.github.url: {userinfo}",
                f"{place}: mcpServers.github.headers.Authorization: {missing}",
            ),
            error.problems,
        )
        self.assertNotIn("s3cret", str(error))


class DefaultsTests(LoadingCase):
    """C{mcpbridge.defaults}."""

    def test_defaults(self) -> None:
        """They hold for each server that does not say otherwise, inline ones count more than the file's."""
        self.write(
            '{"mcpbridge": {"defaults": {"session": "shared", "timeout": 5000, "maxSessions": 2}},'
            ' "mcpServers": {"a": {"url": "https://a/", "timeout": 7000}}}'
        )

        configuration = load(self.environment, inline='{"mcpbridge": {"defaults": {"maxSessions": 3}}}')

        defaults = Settings(session=Sharing.SHARED, timeout=5.0, max_sessions=3)
        self.assertEqual((defaults, 7.0), (configuration.defaults, configuration.upstreams["a"].settings.timeout))

    def test_unknown(self) -> None:
        """Unknown keys are errors here as well."""
        self.write('{"mcpbridge": {"default": {}, "defaults": {"snapshots": true}}}')

        self.assertEqual(
            (
                'mcpbridge.defaults.snapshots: unknown key; did you mean "snapshot"?',
                'mcpbridge.default: unknown key; did you mean "defaults"?',
            ),
            self.problems(),
        )


class UnknownServerTests(LoadingCase):
    """L{unknown_server}."""

    def test_sentences(self) -> None:
        """A near match is proposed, else what is there is listed."""
        servers: Mapping[str, object] = {"linear": {"url": "https://a/"}, "github": {"url": "https://b/"}}
        configuration = load(self.environment, inline=json.dumps(servers))
        names = ("liner", "xyz", "a\nb", "")

        self.assertEqual(
            [
                'there is no server liner in the configuration; did you mean "linear"?',
                "there is no server xyz in the configuration (there is: linear, github)",
                'there is no server "a\\nb" in the configuration (there is: linear, github)',
                'there is no server "" in the configuration (there is: linear, github)',
            ],
            [unknown_server(name, configuration) for name in names],
        )
        self.assertEqual(
            "there is no server x in the configuration (there is: none)", unknown_server("x", Configuration())
        )
