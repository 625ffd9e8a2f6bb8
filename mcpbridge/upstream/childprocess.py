"""
A child process: how it is started apart from us, and how it ends, with everything that it started itself.

Knows nothing of what is said over its pipes; see L{mcpbridge.upstream.child} for that.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping

import attrs
from twisted.internet import process as twisted_process
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IReactorFDSet, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mcpbridge.core.errors import Fate, UpstreamUnavailable
from mcpbridge.core.framing import MAX_LINE
from mcpbridge.upstream.command import Command, Launcher, cannot_start, locate
from mcpbridge.upstream.environment import child_environment
from mcpbridge.upstream.lineage import Lineage, Marker
from mcpbridge.upstream.pipes import PipeReader, PipeWriter
from mcpbridge.upstream.processes import Running
from mcpbridge.upstream.stderr import Mask, StandardError

#: Bytes that may be in a pipe: Linux lets either side enlarge it to that without privileges.
PIPE_SIZE = 1024 * 1024

#: Seconds between two looks at whether the descendants of a dead child are gone.
_POLL = 0.05


@attrs.frozen
class ChildLimits:
    """
    Bounds of one child.

    @ivar line: bytes in one message from it.
    @ivar after_eof: seconds that it has to end by itself when its standard input ends.
    @ivar after_term: seconds that it has from SIGTERM on.
    @ivar after_kill: seconds that the kernel has from SIGKILL on. A process that waits for a dead disk takes for ever.
    """

    line: int = MAX_LINE
    after_eof: float = 2.0
    after_term: float = 3.0
    after_kill: float = 5.0


@attrs.frozen
class ChildEvents:
    """
    Whom to tell what happens to a child. Never called from within L{ChildProcess.start}.

    @ivar received: its standard output brought this.
    @ivar output_ended: its standard output is over.
    @ivar input_moved: its standard input took something; also from within a write.
    @ivar input_broken: its standard input is closed; also from within a write.
    @ivar exited: the process is dead. What it said before is in the pipes, or was told.
    """

    received: Callable[[bytes], None]
    output_ended: Callable[[], None]
    input_moved: Callable[[], None]
    input_broken: Callable[[], None]
    exited: Callable[[], None]


class ChildProcess:
    """
    One process. Its pipes are there once it was started.

    @ivar pid: its id; 0 before.
    @ivar status: what it exited with; L{None} while it lives, and if it was killed.
    """

    _log = Logger()

    stdin: PipeWriter
    stdout: PipeReader

    def __init__(
        self,
        reactor: IReactorProcess,
        name: str,
        command: Command,
        lineage: Lineage,
        launcher: Launcher,
        environment: Mapping[str, str],
        limits: ChildLimits,
        events: ChildEvents,
    ) -> None:
        """
        @param reactor: has to be an L{IReactorTime} and an L{IReactorFDSet} too.
        @param name: of the upstream, for logs.
        @param lineage: gives the child its marker, and finds its descendants.
        @param environment: the daemon's own, of which the child inherits a little.
        """
        self._reactor = reactor
        self._clock = IReactorTime(reactor)
        self._fds = IReactorFDSet(reactor)
        self._name = name
        self._command = command
        self._lineage = lineage
        self._launcher = launcher
        self._environment = environment
        self._limits = limits
        self._events = events
        self._said = StandardError(name, self._clock, Mask(command.env))
        self._marker: Marker | None = None
        self._exit: str | None = None
        self.status: int | None = None
        self._wake: Callable[[], None] | None = None
        self._waiters: list[Deferred[None]] | None = None
        self._is_gone = False
        self.pid = 0

    @property
    def epitaph(self) -> str:
        """How it died, and its last words; for one line of text. Empty while it lives."""
        last_words = self._said.last_words()
        if self._exit is None or not last_words:
            return self._exit or ""
        return f"{self._exit}; its last words: {last_words}"

    def came_up(self) -> None:
        """It is started, and does its work."""
        self._said.came_up()

    def stderr_tail(self) -> list[str]:
        """The last lines of its standard error, fit to be shown."""
        return self._said.tail()

    def start(self) -> None:
        """
        Start it. Once only.

        @raise UpstreamUnavailable: it cannot be started; says what to do about it.
        """
        marker = self._lineage.issue()
        try:
            self._spawn(marker)
        except BaseException:
            self._lineage.retire(marker)
            raise
        self._marker = marker
        self._log.info("{upstream} runs as process {pid}", upstream=self._name, pid=self.pid)

    def end(self) -> Deferred[None]:
        """
        End it, and all its descendants: by the end of its input, then by SIGTERM, then by SIGKILL.

        @return: fires when none is left, or when the last deadline is over. Never fails.
        """
        if self._marker is None or self._is_gone:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        if self._waiters is None:
            self._waiters = [waiter]
            Deferred.fromCoroutine(self._end()).addErrback(self._end_failed).addCallback(self._gone)
        else:
            self._waiters.append(waiter)
        return waiter

    def _spawn(self, marker: Marker) -> None:
        environment = child_environment(self._environment, self._command.env, str(marker))
        arguments = self._launcher.arguments(locate(self._command, environment), self._command)
        opened: list[int] = []
        try:
            for _ in range(3):
                opened += os.pipe()
            theirs_in, ours_in, ours_out, theirs_out, ours_err, theirs_err = opened
            spawned = self._reactor.spawnProcess(
                _ExitWatch(self._process_exited),
                arguments[0],
                arguments,
                environment,
                childFDs={0: theirs_in, 1: theirs_out, 2: theirs_err},
            )
        except (OSError, ValueError, TypeError) as error:
            for descriptor in opened:
                os.close(descriptor)
            raise _refused(error) from None
        for descriptor in (theirs_in, theirs_out, theirs_err):
            os.close(descriptor)
        self.pid = int(spawned.pid)
        self.stdin = PipeWriter(self._fds, ours_in, self._events.input_moved, self._events.input_broken)
        self.stdout = PipeReader(self._fds, ours_out, self._events.received, self._events.output_ended)
        self._stderr = PipeReader(self._fds, ours_err, self._said.received, self._said.ended)

    def _process_exited(self, reason: Failure) -> None:
        self._exit = _in_words(reason)
        self.status = _status(reason)
        # The process may die while it is being started, and be reported from there. And nothing may be closed while
        # the reactor has more to tell of what it found: it would tell it to whoever gets the descriptors next.
        self._clock.callLater(0, self._tell_exited)

    def _tell_exited(self) -> None:
        if self._wake is not None:
            self._wake()
        self._stderr.drain(PIPE_SIZE)
        self._said.ended()
        self._log.info("{upstream}: {how}", upstream=self._name, how=self._exit)
        self._events.exited()

    async def _end(self) -> None:
        # Whoever cannot get rid of what it writes will not see the end of its input.
        self.stdout.resume()
        self.stdin.finish()
        if await self._gone_within(self._limits.after_eof):
            return
        self._signal(signal.SIGTERM)
        if await self._gone_within(self._limits.after_term):
            return
        self._signal(signal.SIGKILL)
        if await self._gone_within(self._limits.after_kill, killing=True):
            return
        self._log.error("process {pid} of {upstream} cannot be killed", upstream=self._name, pid=self.pid)

    def _end_failed(self, failure: Failure) -> None:
        self._log.failure("{upstream}: its process {pid} may be left", failure, upstream=self._name, pid=self.pid)

    def _gone(self, _: None) -> None:
        self._is_gone = True
        self.stdin.close()
        self.stdout.close()
        self._stderr.close()
        assert self._marker is not None and self._waiters is not None
        self._lineage.retire(self._marker)
        waiters, self._waiters = self._waiters, None
        for waiter in waiters:
            waiter.callback(None)

    async def _gone_within(self, seconds: float, killing: bool = False) -> bool:
        deadline = self._clock.seconds() + seconds
        while self._exit is None or self._is_survived():
            remaining = deadline - self._clock.seconds()
            if remaining <= 0:
                return False
            await self._sleep(remaining if self._exit is None else min(remaining, _POLL))
            if killing:
                # It may have started another one in its last moment.
                self._signal(signal.SIGKILL)
        return True

    def _is_survived(self) -> bool:
        """Whether any descendant of the dead process lives."""
        table = self._lineage.table
        if not table.is_there:
            return table.group_exists(self.pid)
        table.reap(twisted_process.reapProcessHandlers)
        return bool(self._survivors())

    def _signal(self, number: signal.Signals) -> None:
        table = self._lineage.table
        group: int | None = None
        # A group may be signalled as long as its name cannot be somebody else's.
        if (self._exit is None or not table.is_there) and table.signal_group(self.pid, number):
            group = self.pid
        for process in self._survivors():
            if process.group != group:
                table.signal_process(process, number)

    def _survivors(self) -> list[Running]:
        assert self._marker is not None
        return self._lineage.survivors(self._marker, self.pid)

    async def _sleep(self, seconds: float) -> None:
        """For so long, or until the process dies."""
        sleeping: Deferred[None] = Deferred()
        alarm = self._clock.callLater(seconds, sleeping.callback, None)

        def wake() -> None:
            self._wake = None
            alarm.cancel()
            sleeping.callback(None)

        self._wake = wake
        await sleeping
        self._wake = None


class _ExitWatch(ProcessProtocol):
    """All that is left of a process protocol where the pipes are ours."""

    def __init__(self, exited: Callable[[Failure], None]) -> None:
        self._exited = exited

    def processExited(self, reason: Failure) -> None:
        """It is dead, though others may still hold its pipes."""
        self._exited(reason)


#: Too many processes, files or too little memory just now: that passes.
_TRANSIENT = frozenset((errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM))


def _refused(error: Exception) -> UpstreamUnavailable:
    if isinstance(error, OSError):
        fate = Fate.NEVER_SENT if error.errno in _TRANSIENT else Fate.FAILED
        return cannot_start(error.strerror or str(error), fate)
    # A NUL in an argument, or a name in the environment that is none.
    return cannot_start(str(error))


def _status(reason: Failure) -> int | None:
    ended = reason.value
    if not isinstance(ended, ProcessTerminated):
        return 0
    status: int | None = ended.exitCode
    return status if ended.signal is None else None


def _in_words(reason: Failure) -> str:
    ended = reason.value
    if not isinstance(ended, ProcessTerminated):
        return "the server process exited with status 0"
    if ended.signal is None:
        return f"the server process exited with status {ended.exitCode}"
    try:
        return f"the server process was killed by {signal.Signals(ended.signal).name}"
    except ValueError:
        return f"the server process was killed by signal {ended.signal}"
