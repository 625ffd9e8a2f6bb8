"""
Running a program for what it prints: a secret, or headers.

The program is the user's own, from the configuration. It gets no secret of ours, in its environment or elsewhere, and
what it prints goes into no log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.printable import printable

#: Bytes of what it prints. Tokens have up to some KiB.
MAX_OUTPUT = 64 * 1024

#: Seconds. Claude Code gives its helpers 10; password managers ask their user.
DEADLINE = 10.0

#: Bytes of its last words on standard error that are shown.
_WORDS = 300

#: Not for programs: where our own things are, and the key to them.
_OURS = ("MCPBRIDGE_", "CREDENTIALS_DIRECTORY")


class _Run(ProcessProtocol):
    def __init__(self, reactor: Any, name: str, done: Deferred[bytes]) -> None:
        self._name = name
        self._done: Deferred[bytes] | None = done
        self._output = bytearray()
        self._words = b""
        self._given_up: Failure | None = None
        self._call: IDelayedCall | None = reactor.callLater(DEADLINE, self._too_late)

    def connectionMade(self) -> None:
        """It runs."""
        assert self.transport is not None
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """It prints."""
        self._output += data
        if len(self._output) > MAX_OUTPUT:
            self.give_up(f"{self._name} prints more than {MAX_OUTPUT} bytes")

    def errReceived(self, data: bytes) -> None:
        """It complains."""
        self._words = (self._words + data)[-_WORDS:]

    def processEnded(self, reason: Failure) -> None:
        """It is over."""
        if self._given_up is not None:
            self._finish(self._given_up)
            return
        if reason.check(ProcessDone):
            self._finish(bytes(self._output))
            return
        code = getattr(reason.value, "exitCode", None)
        status = f"exited with status {code}" if code is not None else "was killed"
        words = printable(self._words.strip())
        self._finish(Failure(ConfigurationError(f"{self._name} {status}{': ' + words if words else ''}")))

    def give_up(self, text: str) -> None:
        """Do not wait any longer than it takes to end it."""
        if self._given_up is not None:
            return
        self._given_up = Failure(ConfigurationError(text))
        if self.transport is None or not self.transport.pid:
            self._finish(self._given_up)
            return
        self.transport.signalProcess("KILL")
        # What it has started may hold its pipes.
        self.transport.loseConnection()

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self._done = None
        self.give_up(f"{self._name} was not waited for")

    def _too_late(self) -> None:
        self._call = None
        self.give_up(f"{self._name} did not end within {DEADLINE:g} s")

    def _finish(self, result: bytes | Failure) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        done, self._done = self._done, None
        if done is not None:
            done.callback(result)


def output_of(
    reactor: Any, name: str, command: tuple[str, ...], environment: Mapping[str, str], extra: Mapping[str, str]
) -> Deferred[bytes]:
    """
    What a program prints.

    @param reactor: starts processes and keeps time.
    @param name: what it is, for errors, such as C{headersHelper}.
    @param environment: ours; it gets it without what belongs to us alone.
    @param extra: what it gets besides.
    @raise ConfigurationError: (through the Deferred) it cannot be started, fails, or takes too long.
    """
    run: _Run | None = None

    def cancel(_: Deferred[bytes]) -> None:
        if run is not None:
            run.abandon()

    done: Deferred[bytes] = Deferred(cancel)
    given = {key: value for key, value in environment.items() if not key.startswith(_OURS)}
    run = _Run(reactor, name, done)
    try:
        # With PATH looked up, and without a path= argument: then Twisted need not fork this process.
        reactor.spawnProcess(run, "/usr/bin/env", ("env", "--", *command), {**given, **extra})
    except OSError as error:
        run.give_up(f"{name} cannot be started: {error.strerror or error}")
    return done
