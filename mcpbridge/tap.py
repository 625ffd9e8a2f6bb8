"""
C{twistd mcpbridge}: its options, and the daemon made from them.

The reactor, and whatever needs it, is imported only when the daemon is made: C{twistd --help} reads this module too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from twisted.application.service import IService, MultiService, Service
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from zope.interface import implementer

from mcpbridge.configuration import ConfigurationError, InvalidConfiguration, load
from mcpbridge.downstream.http.settings import AUTHENTICATIONS, endpoint_settings
from mcpbridge.paths import configuration_path, socket_path, state_directory
from mcpbridge.service.logs import FORMATS, LEVELS, observer

#: A log file begins anew at this size, and so many old ones are kept: 60 MB at most.
_LOG_FILE_SIZE = 10_000_000
_OLD_LOG_FILES = 5
#: Where twistd puts the log of a daemon in the background that was not told otherwise.
_DEFAULT_LOG_FILE = "twistd.log"


class Options(usage.Options):
    """
    Each option has an environment variable of the same name; the command line counts more.

    @ivar environment: where those variables are looked up, and where the daemon finds what C{${VAR}} stands for.
    """

    synopsis = "[options]"
    longdesc = (
        "Serves the MCP servers of the configuration to the clients of `python -m mcpbridge.stdio NAME`. "
        "Each option can be given in the environment as well: MCPBRIDGE_CONFIG, MCPBRIDGE_SERVERS, MCPBRIDGE_SOCKET, "
        "MCPBRIDGE_STATE_DIR, MCPBRIDGE_HTTP, MCPBRIDGE_HTTP_AUTH, MCPBRIDGE_HTTP_NAMES, "
        "MCPBRIDGE_LOG_FORMAT, MCPBRIDGE_LOG_LEVEL."
    )
    optParameters = [
        ["config", "c", None, "The configuration file"],
        ["servers", "s", None, "The mcpServers object itself, as JSON; its servers count more than the file's"],
        ["socket", None, None, "The Unix socket that clients come to"],
        ["state-dir", None, None, "The folder for what is remembered between runs"],
        ["http", None, None, "HOST:PORT of the HTTP endpoint, http://HOST:PORT/mcp/NAME; none if left out"],
        ["http-auth", None, "token", f"How its clients show that they may come in: {' or '.join(AUTHENTICATIONS)}"],
        ["http-names", None, None, "Further names that it may be called by, separated by commas"],
        ["log-format", None, "text", f"How records are written: {' or '.join(FORMATS)}"],
        ["log-level", None, "info", f"The least important records to write: {', '.join(LEVELS)}"],
    ]

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.environment = dict(os.environ if environment is None else environment)
        for name in self.opts:
            # Set to nothing is not set: that is how containers leave variables out.
            value = self.environment.get(_variable(name))
            if value:
                self.opts[name] = value
        # What --help shows. The option itself stays unset, for a default file may be missing and a named one may not.
        self.defaults.update(self.opts, servers=None)
        self.defaults["config"] = configuration_path(self.environment)
        self.defaults["socket"] = socket_path(self.environment)
        self.defaults["state-dir"] = state_directory(self.environment)

    def postOptions(self) -> None:
        """
        Make paths absolute, for twistd changes its folder, and read the configuration once, so that what is wrong
        with it is said in one line before anything is started.

        @raise usage.UsageError: something cannot be used.
        """
        self._choose("log-format", FORMATS)
        self._choose("log-level", LEVELS)
        self["socket"] = os.path.abspath(self["socket"] or self.defaults["socket"])
        self["state-dir"] = os.path.abspath(self["state-dir"] or self.defaults["state-dir"])
        self["config"] = os.path.abspath(self["config"]) if self["config"] else None
        try:
            # Read again when the daemon is made; here for what is wrong with it.
            endpoint_settings(self["http"], self["http-auth"], self["http-names"] or "")
        except ConfigurationError as error:
            raise usage.UsageError(str(error)) from None
        try:
            load(self.environment, path=self["config"], inline=self["servers"])
        except InvalidConfiguration as error:
            raise usage.UsageError(str(error)) from None

    def _choose(self, name: str, words: tuple[str, ...]) -> None:
        word = str(self[name]).lower()
        # As Python's own logging has it.
        word = "warn" if word == "warning" else word
        if word not in words:
            raise usage.UsageError(f"--{name} ({_variable(name)}) must be one of {', '.join(words)}")
        self[name] = word


@implementer(IService)
class Housing(MultiService):
    """
    What is between twistd and the daemon: gives the application its log observer, and turns a start that cannot be
    into one line and an exit status.
    """

    _log = Logger()

    def __init__(self, daemon: IService, log: ILogObserver | None) -> None:
        super().__init__()
        daemon.setServiceParent(self)
        self._observer = log

    def setServiceParent(self, parent: Any) -> None:
        """Called by twistd before it begins to log, which is the one moment to say where to."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Begin, with the rights that twistd was started with."""
        try:
            super().privilegedStartService()
        except ConfigurationError as error:
            self._refuse(error)

    def startService(self) -> None:
        """Begin."""
        try:
            super().startService()
        except ConfigurationError as error:
            self._refuse(error)

    def _refuse(self, error: ConfigurationError) -> None:
        self._log.critical("mcpbridge cannot start: {error}", error=str(error))
        tell_whoever_waits(str(error))
        raise SystemExit(1) from None


def makeService(options: Options) -> Service:
    """
    The daemon, ready to be put in an application.

    @param options: parsed.
    @raise SystemExit: the configuration has changed since it was parsed, and cannot be used any more.
    """
    from twisted.internet import reactor

    from mcpbridge.service.daemon import DaemonOptions, daemon_service

    settings = DaemonOptions(
        config=options["config"],
        servers=options["servers"],
        socket=options["socket"],
        state_dir=options["state-dir"],
        environment=options.environment,
        http=endpoint_settings(options["http"], options["http-auth"], options["http-names"] or ""),
    )
    try:
        daemon = daemon_service(reactor, settings)
    except ConfigurationError as error:
        tell_whoever_waits(str(error))
        raise SystemExit(f"mcpbridge: {error}") from None
    stream = log_stream(options.parent)
    return Housing(daemon, None if stream is None else observer(stream, options["log-format"], options["log-level"]))


def log_stream(twistd: Mapping[str, Any] | None) -> TextIO | None:
    """
    Where records go: to stderr, unless twistd was told to put them elsewhere.

    @param twistd: its own options; L{None} where they cannot be known (a C{.tac} file, which is for the foreground).
    @return: L{None} to leave everything to twistd.
    """
    if twistd is None:
        return sys.stderr
    path = twistd.get("logfile")
    in_foreground = bool(twistd.get("nodaemon"))
    if twistd.get("logger") or twistd.get("syslog") or (path == "-" and not in_foreground):
        return None
    if path == "-":
        return sys.stdout
    if in_foreground and not path:
        return sys.stderr
    file: Any = LogFile.fromFullPath(
        path or _DEFAULT_LOG_FILE, rotateLength=_LOG_FILE_SIZE, maxRotatedFiles=_OLD_LOG_FILES, defaultMode=0o600
    )
    text: TextIO = file
    return text


def tell_whoever_waits(sentence: str) -> None:
    """Tell the relay that started this daemon, if one did, why there will be none."""
    from mcpbridge.downstream.listening import tell_ready

    tell_ready(os.environ, sentence)


def _variable(name: str) -> str:
    return "MCPBRIDGE_" + name.upper().replace("-", "_")
