"""
A server that we run ourselves and talk to over its standard streams (MCP, Transports, stdio).

What a line means is for L{mcpbridge.core.bindings.stdio} to say, what becomes of a request is for our owner, and how
the process ends for L{mcpbridge.upstream.childprocess}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import ParamSpec

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.bindings.stdio import read_line, read_overlong
from mcpbridge.core.errors import Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.framing import LineFramer, OverlongLine
from mcpbridge.core.jsonrpc import Batch, InvalidMessage, Message, Request, RequestId, encode_parts
from mcpbridge.core.printable import printable
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from mcpbridge.upstream.childprocess import PIPE_SIZE, ChildEvents, ChildLimits, ChildProcess
from mcpbridge.upstream.command import Command, Launcher, cannot_start
from mcpbridge.upstream.lineage import Lineage
from mcpbridge.upstream.stderr import Allowance, Mask
from mcpbridge.upstream.stillbirths import Stillbirths

_P = ParamSpec("_P")

#: Bytes waiting for the child's standard input above which the owner is told to hold back, and below which that it need
#: not any more: some hundred calls, or a few documents.
HIGH_WATER = 1024 * 1024
LOW_WATER = 256 * 1024

#: Bytes that wait at most. Beyond that requests fail at once: whoever lets that much wait does not read at all.
MAX_WAITING = 64 * 1024 * 1024

#: So many overlong lines within so many seconds, or one of so many times the limit, and the child is given up.
MAX_OVERLONG = 3
OVERLONG_PERIOD = 60.0
MAX_EXCESS = 16

#: Seconds between the end of one of its streams and its own. Mostly they are one event, and the exit status tells more.
EXIT_DELAY = 0.5


@implementer(IMessageTransport)
class ChildTransport:
    """The conversation with one child process, from its start to its end."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorProcess,
        name: str,
        command: Command,
        lineage: Lineage,
        launcher: Launcher,
        environment: Mapping[str, str],
        limits: ChildLimits | None = None,
        stillbirths: Stillbirths | None = None,
    ) -> None:
        """
        @param reactor: has to be an L{IReactorTime} and an L{twisted.internet.interfaces.IReactorFDSet} too.
        @param name: of the upstream, for logs.
        @param lineage: of the daemon, one for all.
        @param launcher: one for all.
        @param environment: the daemon's own, of which the child inherits a little.
        @param stillbirths: of the upstream, one for all its children.
        """
        limits = ChildLimits() if limits is None else limits
        self._clock = IReactorTime(reactor)
        self._name = name
        self._mask = Mask(command.env)
        self._stillbirths = Stillbirths(self._clock) if stillbirths is None else stillbirths
        events = ChildEvents(self._received, self._output_ended, self._weigh, self._input_broken, self._exited)
        self._child = ChildProcess(reactor, name, command, lineage, launcher, environment, limits, events)
        self._link: IMessageLink | None = None

        self._limit = limits.line
        self._framer = LineFramer(limits.line)
        self._lines: deque[bytes | OverlongLine] = deque()
        self._is_paused = False
        self._is_delivering = False
        self._noise = Allowance(self._clock)
        self._overlong: deque[float] = deque(maxlen=MAX_OVERLONG)

        self._is_congested = False
        self._told_congested = False
        self._losing: IDelayedCall | None = None
        self._is_started = False
        self._born = 0.0
        self._has_spoken = False
        # Over: nothing can be sent and nothing more is told of the child. Silent: nothing is told at all.
        self._is_over = False
        self._is_silent = False

    @property
    def pid(self) -> int:
        """The id of the process; 0 if it was not started."""
        return self._child.pid

    def stderr_tail(self) -> list[str]:
        """The last lines that it wrote to its standard error, fit to be shown to an operator."""
        return self._child.stderr_tail()

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """
        Start the process. There is nothing to wait for: what we write is there when it gets to reading.
        """
        if self._link is not None or self._is_over:
            return fail(cannot_start("this connection was used before"))
        self._link = link
        try:
            self._child.start()
        except UpstreamUnavailable:
            self._is_over = True
            return fail(Failure())
        self._is_started = True
        self._born = self._clock.seconds()
        if self._is_paused:
            self._child.stdout.pause()
        return succeed(None)

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """
        Write one line. C{within} has no meaning here: there is one channel.
        """
        request_id = message.id if isinstance(message, Request) else None
        if self._is_over or not self._is_started:
            self._refuse(request_id, Reason.UPSTREAM_UNREACHABLE, self._child.epitaph or "the server is not running")
            return
        frame = b"".join((*encode_parts(message), b"\n"))
        if self._child.stdin.waiting + len(frame) > MAX_WAITING:
            text = f"the server does not read its input: {MAX_WAITING // 1024**2} MiB are waiting for it"
            self._refuse(request_id, Reason.OVERLOADED, text)
            return
        self._child.stdin.write(frame, request_id)
        self._weigh()

    def abandon(self, request_id: RequestId) -> None:
        """
        Do not write the request, if it is not on its way yet: a child that reads late shall not do what nobody wants.
        """
        if self._is_started:
            self._child.stdin.withdraw(request_id)

    def pause(self) -> None:
        """Stop reading its standard output. Once the pipe is full, it waits."""
        self._is_paused = True
        if self._is_started and not self._is_over:
            self._child.stdout.pause()

    def resume(self) -> None:
        """Go on reading."""
        self._is_paused = False
        if self._is_started:
            self._child.stdout.resume()
            self._clock.callLater(0, self._deliver)

    def disconnect(self) -> Deferred[None]:
        """
        End the process and all its descendants.
        """
        self._is_over = self._is_silent = True
        self._lines.clear()
        self._stop_losing()
        return self._child.end()

    # The child's standard output.

    def _received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._lines += self._framer.feed(data)
        self._deliver()
        if self._framer.discarded > MAX_EXCESS * self._limit:
            self._give_up("it sent a line without end")

    def _deliver(self, in_any_case: bool = False) -> None:
        # Our owner may send, pause, resume or disconnect from within a call.
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._lines and not self._is_over and (in_any_case or not self._is_paused):
                self._take(self._lines.popleft())
        finally:
            self._is_delivering = False

    def _take(self, line: bytes | OverlongLine) -> None:
        if isinstance(line, OverlongLine):
            self._take_overlong(line)
            return
        found = read_line(line)
        if found is None:
            self._note_noise(line)
        else:
            self._pass_on(found)

    def _pass_on(self, found: Message | Batch | InvalidMessage) -> None:
        assert self._link is not None
        if not self._has_spoken and not isinstance(found, InvalidMessage):
            self._has_spoken = True
            self._stillbirths.spoke()
            self._child.came_up()
        if isinstance(found, Batch):
            self._tell(self._link.received_batch, found.elements)
        elif isinstance(found, InvalidMessage):
            self._tell(self._link.received_garbage, found)
        else:
            self._tell(self._link.received, found, None)

    def _take_overlong(self, line: OverlongLine) -> None:
        found = read_overlong(line)
        if found is None:
            self._note_noise(line.head)
        else:
            self._log.warn("{upstream} sent a line of {size} bytes, refused", upstream=self._name, size=line.size)
            self._pass_on(found)
        now = self._clock.seconds()
        self._overlong.append(now)
        if len(self._overlong) == MAX_OVERLONG and now - self._overlong[0] <= OVERLONG_PERIOD:
            self._give_up(f"it sent {MAX_OVERLONG} lines that are too large within a minute")

    def _note_noise(self, line: bytes) -> None:
        refused = self._noise.refused()
        if refused:
            self._log.info("{upstream} printed {count} more lines of noise", upstream=self._name, count=refused)
        if self._noise.take():
            shown = printable(self._mask.hide(line.decode("utf-8", "backslashreplace")))
            self._log.info("{upstream} printed what is no message: {line}", upstream=self._name, line=shown)

    # The child's standard input.

    def _weigh(self) -> None:
        waiting = self._child.stdin.waiting
        if LOW_WATER <= waiting <= HIGH_WATER or (waiting > HIGH_WATER) == self._is_congested:
            return
        self._is_congested = waiting > HIGH_WATER
        # The owner is in the middle of a call to us.
        self._clock.callLater(0, self._tell_congestion)

    def _tell_congestion(self) -> None:
        if self._is_over or self._is_congested == self._told_congested:
            return
        assert self._link is not None
        self._told_congested = self._is_congested
        self._tell(self._link.congested if self._is_congested else self._link.relieved)

    def _refuse(self, request_id: RequestId | None, reason: Reason, text: str) -> None:
        if request_id is not None:
            self._clock.callLater(0, self._tell_lost, request_id, Loss(Fate.NEVER_SENT, reason, text))
        elif not self._is_over:
            self._log.warn("{upstream} did not get a message: {text}", upstream=self._name, text=text)

    def _tell_lost(self, request_id: RequestId, loss: Loss) -> None:
        if self._link is not None:
            self._tell(self._link.request_lost, request_id, loss)

    # The end.

    def _output_ended(self) -> None:
        self._expect_exit("the server closed its standard output")

    def _input_broken(self) -> None:
        self._expect_exit("the server closed its standard input")

    def _expect_exit(self, text: str) -> None:
        if self._losing is None and not self._is_over:
            self._losing = self._clock.callLater(EXIT_DELAY, self._lose, Reason.OUTCOME_UNKNOWN, text)

    def _exited(self) -> None:
        # Whatever it answered before it died is in the pipe by now.
        self._child.stdout.drain(PIPE_SIZE)
        self._lose(Reason.OUTCOME_UNKNOWN, self._child.epitaph, is_dead=True)

    def _give_up(self, why: str) -> None:
        self._lose(Reason.MALFORMED, f"the server is being restarted: {why}")

    def _lose(self, reason: Reason, text: str, is_dead: bool = False) -> None:
        self._stop_losing()
        self._deliver(in_any_case=True)
        self._take_rest()
        if self._is_over:
            return
        self._is_over = True
        assert self._link is not None
        unsent = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, text)
        loss = Loss(Fate.UNKNOWN, reason, text)
        if is_dead and not self._has_spoken and self._stillbirths.died(self._born, self._child.status):
            text = f"the server ends as soon as it is started: {text}"
            unsent = loss = Loss(Fate.FAILED, Reason.UPSTREAM_UNREACHABLE, text)
        for request_id in self._child.stdin.unbegun():
            self._tell(self._link.request_lost, request_id, unsent)
        self._tell(self._link.disconnected, loss)
        self._child.end()

    def _take_rest(self) -> None:
        """A last line without its newline. Half a message is none, and is lost with the connection."""
        found = read_line(self._framer.rest())
        if not self._is_over and found is not None and not isinstance(found, InvalidMessage):
            self._pass_on(found)

    def _stop_losing(self) -> None:
        if self._losing is not None and self._losing.active():
            self._losing.cancel()
        self._losing = None

    def _tell(self, call: Callable[_P, None], *arguments: _P.args, **_: _P.kwargs) -> None:
        if self._is_silent:
            return
        try:
            call(*arguments, **_)
        except Exception:  # noqa: BLE001  # of our owner: a bug there costs one message, not the conversation
            self._log.failure("{upstream}: a message was not dealt with", upstream=self._name)
