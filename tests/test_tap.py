"""Tests of L{mcpbridge.tap}."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from twisted.application.service import Application, IService, IServiceCollection, Service
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.configuration import ConfigurationError
from mcpbridge.service.logs import observer
from mcpbridge.tap import Housing, Options, log_stream


class OptionsTests(SynchronousTestCase):
    """L{Options}."""

    def setUp(self) -> None:
        self.home = os.path.abspath(self.mktemp())
        self.environment = {"HOME": self.home, "XDG_RUNTIME_DIR": os.path.join(self.home, "run")}

    def parse(self, *arguments: str, **environment: str) -> Options:
        """Parse a command line."""
        options = Options({**self.environment, **environment})
        options.parseOptions(arguments)
        return options

    def test_defaults(self) -> None:
        """Without anything, everything has its XDG place, and no file is named."""
        options = self.parse()

        self.assertEqual(
            (None, None, f"{self.home}/.local/state/mcpbridge", "text", "info"),
            tuple(options[name] for name in ("config", "servers", "state-dir", "log-format", "log-level")),
        )
        self.assertTrue(os.path.isabs(options["socket"]))

    def test_environment(self) -> None:
        """Each option has a variable; one that is set to nothing is not set."""
        options = self.parse(
            MCPBRIDGE_CONFIG="",
            MCPBRIDGE_SERVERS="{}",
            MCPBRIDGE_SOCKET="/s",
            MCPBRIDGE_STATE_DIR="/state",
            MCPBRIDGE_HTTP="127.0.0.1:8377",
            MCPBRIDGE_HTTP_AUTH="none",
            MCPBRIDGE_HTTP_NAMES="bridge",
            MCPBRIDGE_LOG_FORMAT="json",
            MCPBRIDGE_LOG_LEVEL="WARNING",
        )

        self.assertEqual(
            {
                "config": None,
                "servers": "{}",
                "socket": "/s",
                "state-dir": "/state",
                "http": "127.0.0.1:8377",
                "http-auth": "none",
                "http-names": "bridge",
                "log-format": "json",
                "log-level": "warn",
            },
            dict(options),
        )

    def test_command_line(self) -> None:
        """It counts more than the environment, and its paths are made absolute: twistd changes its folder."""
        os.makedirs(self.home)
        path = os.path.join(self.home, "c.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write("{}")

        options = self.parse(
            "--config", os.path.relpath(path), "--socket", "s", "--log-format=text", MCPBRIDGE_LOG_FORMAT="json"
        )

        self.assertEqual(
            (path, os.path.abspath("s"), "text"), (options["config"], options["socket"], options["log-format"])
        )

    def test_refused(self) -> None:
        """What cannot be used is one line that says which option, and all that is wrong with the configuration."""
        cases: list[tuple[list[str], dict[str, str], str]] = [
            (["--log-format", "xml"], {}, "--log-format (MCPBRIDGE_LOG_FORMAT) must be one of text, json"),
            ([], {"MCPBRIDGE_LOG_LEVEL": "x"}, "--log-level (MCPBRIDGE_LOG_LEVEL) must be one of debug, info"),
            (["--config", "/nowhere/x"], {}, "/nowhere/x: there is no such file"),
            (["--servers", '{"a": {"comand": 1, "url": 2}}'], {}, "mcpServers.a.url: must be a string"),
            (["--servers", '{"a": {"url": "${NONE}"}}'], {}, "the environment variable NONE is not set"),
        ]

        for arguments, environment, sentence in cases:
            options = Options({**self.environment, **environment})
            error = self.assertRaises(usage.UsageError, options.parseOptions, arguments)

            self.assertIn(sentence, str(error))
            self.assertEqual(1, len(str(error).splitlines()))

    def test_help(self) -> None:
        """It shows the defaults of this environment, and never the servers, which may hold secrets."""
        options = Options({**self.environment, "MCPBRIDGE_STATE_DIR": "/state", "MCPBRIDGE_SERVERS": "s3cret"})

        text = "".join(options.getUsage(width=10_000).split())

        self.assertIn("[default:/state]", text)
        self.assertIn(f"[default:{self.home}/.config/mcpbridge/config.json]", text)
        self.assertNotIn("s3cret", text)


class LogStreamTests(SynchronousTestCase):
    """L{log_stream}."""

    def test_choices(self) -> None:
        """Stderr in the foreground, unless twistd was told otherwise."""
        table: list[tuple[dict[str, Any] | None, object]] = [
            (None, sys.stderr),
            ({"nodaemon": 1}, sys.stderr),
            ({"nodaemon": 1, "logfile": "-"}, sys.stdout),
            ({"logfile": "-"}, None),
            ({"nodaemon": 1, "logger": "a.b"}, None),
            ({"nodaemon": 1, "syslog": 1}, None),
        ]

        self.assertEqual([stream for _, stream in table], [log_stream(twistd) for twistd, _ in table])

    def test_file(self) -> None:
        """A file is for its owner only, and takes text."""
        path = self.mktemp()

        stream = log_stream({"logfile": path})
        assert stream is not None
        self.addCleanup(stream.close)
        stream.write("ä\n")
        stream.flush()

        with open(path, encoding="utf-8") as file:
            self.assertEqual(("ä\n", 0o600), (file.read(), os.stat(path).st_mode & 0o777))


class FakeDaemon(Service):
    """A daemon that starts, or says why not."""

    def __init__(self, refusal: str | None = None) -> None:
        self._refusal = refusal

    def startService(self) -> None:
        """Begin, or not."""
        if self._refusal is not None:
            raise ConfigurationError(self._refusal)
        super().startService()


class HousingTests(SynchronousTestCase):
    """L{Housing}."""

    def test_provides(self) -> None:
        """It is a service."""
        verifyObject(IService, Housing(FakeDaemon(), None))

    def test_observer(self) -> None:
        """It brings its log observer to the application, or leaves the application's alone."""
        log = observer(io.StringIO(), "text", "info")
        with_log, without = Application("a"), Application("b")

        Housing(FakeDaemon(), log).setServiceParent(with_log)
        Housing(FakeDaemon(), None).setServiceParent(without)

        self.assertEqual((log, None), (with_log.getComponent(ILogObserver), without.getComponent(ILogObserver, None)))
        self.assertEqual(1, len(list(IServiceCollection(with_log))))

    def test_start_and_stop(self) -> None:
        """The daemon starts and stops with it."""
        daemon = FakeDaemon()
        housing = Housing(daemon, None)

        housing.privilegedStartService()
        housing.startService()
        running = daemon.running
        self.successResultOf(housing.stopService())

        self.assertEqual((True, False), (bool(running), bool(daemon.running)))

    def test_refusal(self) -> None:
        """A daemon that cannot start is one line in the log, one to whoever waits for it, and exit status 1."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.patch(os, "environ", {**os.environ, "MCPBRIDGE_READY_FD": str(writing)})

        error = self.assertRaises(SystemExit, Housing(FakeDaemon("another daemon runs"), None).startService)

        self.assertEqual((1, b"another daemon runs\n"), (error.code, os.read(reading, 100)))
