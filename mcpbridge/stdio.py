"""
The relay: what a client starts in place of a server, C{python -m mcpbridge.stdio NAME}.

It hands its stdin and stdout to the daemon and sleeps, for as long as its client lives and whatever becomes of daemons.
It knows nothing of MCP, and imports next to nothing: a client waits while it starts. What it seldom does (starting a
daemon, doing without one, terminals) is in L{mcpbridge.orphan}, which is imported when that is to be done.
"""

import _signal  # type: ignore[import-not-found]  # signal without its enumerations
import _socket
import os
import select
import sys
import time

from mcpbridge import paths

TYPE_CHECKING = False  # Not from typing, which costs more than all of this.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

#: Seconds for the daemon to answer a relay that has not been attached yet.
ANSWER_DEADLINE = 30.0

_TIMEVAL = int(ANSWER_DEADLINE).to_bytes(8, sys.byteorder) + bytes(8)

# So many daemons in a row that end within a second are none.
_VAIN = 10
# Where there is no pidfd: seconds between two looks at whether the parent is still there.
_LOOK = 5.0


class Relay:
    """
    @ivar path: of the daemon's socket.
    @ivar may_start: whether a daemon may be started.
    @ivar stdin: what the daemon reads the client from, and L{stdout}, where it writes to it: passed on as they are.
    @ivar memory: the file that outlives the daemon.
    @ivar attached: whether a daemon ever took the client.
    @ivar stopping: whether the daemon stops because somebody wants it to.
    @ivar refusal: why the last daemon did not take the client; empty if it did.
    """

    def __init__(self, server: str, may_start: bool) -> None:
        self.server = server
        self.path = paths.socket_path()
        self.may_start = may_start
        self.stdin, self.stdout = 0, 1
        self.attached = self.stopping = False
        self.refusal = ""
        self._vain = 0
        self._blocking = [fd for fd in (0, 1) if os.get_blocking(fd)]
        for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
            if _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, lambda *_: self.leave(0))
        self._parent_pid = os.getppid()
        try:
            self._parent = os.pidfd_open(self._parent_pid)
        except (AttributeError, OSError):
            self._parent = -1
        self.memory = _memory()

    def run(self) -> "NoReturn":
        """Serve the client until it is gone."""
        if not (_passable(0) and _passable(1)):
            from mcpbridge.orphan.shuttle import carry_for

            carry_for(self)
        while True:
            self._serve((None if self.refusal else self.connect()) or self._find())

    def connect(self) -> "_socket.socket | None":
        """A connection to the daemon, if there is one."""
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            # struct timeval. A daemon that is stopped, with more relays before it than it has room for, takes no more.
            connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _TIMEVAL)
            connection.connect(self.path)
            # struct ucred: pid, uid, gid. Whoever else listens there would be given the client.
            if hasattr(_socket, "SO_PEERCRED"):
                uid = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)[4:8]
                if int.from_bytes(uid, sys.byteorder) not in (os.getuid(), 0):
                    raise PermissionError(0, "another user listens there; set MCPBRIDGE_SOCKET to a path of your own")
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            pass  # There is none.
        except BlockingIOError:
            self.fail(f"the daemon at {self.path} does not answer; restart it")
        except OSError as error:
            self.fail(f"cannot connect to {self.path}: {error.strerror or error}")
        connection.close()
        return None

    def wait(self, wanted: "Mapping[int, int]", seconds: "float | None") -> "dict[int, int]":
        """
        Sleep until one of these descriptors is ready, or the time is up. Ends the process when the parent is gone.

        @param wanted: descriptors and what to poll them for.
        @return: those that are ready and what they are ready for; may be empty before the time is up.
        """
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        if self._parent >= 0:
            poll.register(self._parent, select.POLLIN)
        elif seconds is None or seconds > _LOOK:
            seconds = _LOOK
        ready = dict(poll.poll(None if seconds is None else max(0, int(seconds * 1000))))
        if self._parent in ready or os.getppid() != self._parent_pid:
            self.leave(0)
        return ready

    def finish(self) -> None:
        """Say what is left to say to the client."""

    def fail(self, sentence: str) -> None:
        """Give up, and say why. Never returns, but once a client was served: then it is only remembered."""
        if self.attached:
            self.refusal = sentence
            return
        os.write(2, f"mcpbridge: {sentence}\n".encode("utf-8", "backslashreplace"))
        from mcpbridge.orphan.refusal import refuse

        refuse(self, sentence)

    def leave(self, status: int) -> "NoReturn":
        """End the process, and leave the descriptors as they were found."""
        for fd in self._blocking:
            os.set_blocking(fd, True)
        os._exit(status)

    def _find(self) -> "_socket.socket":
        from mcpbridge.orphan.gap import first_daemon, next_daemon

        return next_daemon(self) if self.attached else first_daemon(self)

    def _serve(self, connection: "_socket.socket") -> None:
        """Stay with this daemon as long as it lasts."""
        since = time.monotonic()
        heard = b""
        try:
            _hello(connection, self.server, (self.stdin, self.stdout, self.memory))
            while True:
                patience = None if self.attached else since + ANSWER_DEADLINE - time.monotonic()
                if connection.fileno() not in self.wait({connection.fileno(): select.POLLIN}, patience):
                    if patience is not None and time.monotonic() >= since + ANSWER_DEADLINE:
                        self.fail(f"the daemon at {self.path} does not answer; restart it")
                    continue
                data = connection.recv(4096)
                if not data:
                    break
                *lines, heard = (heard[-4096:] + data).split(b"\n")
                for line in lines:
                    self._obey(line)
        except OSError:
            pass  # Reset or broken: it is gone, like one that closed the connection.
        connection.close()
        self._vain = self._vain + 1 if time.monotonic() < since + 1 and not self.stopping else 0
        if self._vain >= _VAIN:
            self.fail("the daemon ends whenever it is connected to; its log says more")
        elif self._vain or self.stopping:
            self.wait({}, 0.1 * (self._vain or 1))

    def _obey(self, line: bytes) -> None:
        if line == b"ok":
            self.attached, self.stopping, self.refusal = True, False, ""
        elif line.startswith(b"no "):
            self.fail(line[3:].decode("utf-8", "replace"))
        elif line == b"stopping":
            self.stopping = True
        elif line == b"bye":
            self.finish()
            self.leave(0)


def main(arguments: "Sequence[str] | None" = None) -> None:
    """
    The program. Never returns, but for C{--standalone}.

    @param arguments: without the program's name.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = {word for word in words if word.startswith("-")}
    names = [word for word in words if word not in options]
    if options - {"--no-start", "--standalone"} or len(names) != 1 or not names[0]:
        from mcpbridge.orphan.usage import explain

        explain(options)
    if "--standalone" in options:
        from mcpbridge.standalone import main as standalone

        sys.exit(standalone(names[0]))
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The lowest number that is free, so this one.
    Relay(names[0], "--no-start" not in options).run()


def _hello(connection: "_socket.socket", server: str, descriptors: "tuple[int, ...]") -> None:
    try:
        cwd = os.getcwdb()
    except OSError:
        cwd = b""
    hello = b"MCPBRIDGE/1 %s %s %d\n" % (os.fsencode(server).hex().encode(), cwd.hex().encode(), os.getpid())
    rights = b"".join(fd.to_bytes(4, sys.byteorder) for fd in descriptors)
    connection.sendmsg([hello], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def _passable(fd: int) -> bool:
    """Whether the daemon can watch this one, and may make it non-blocking: a pipe or a socket."""
    return os.fstat(fd).st_mode & 0o170000 in (0o010000, 0o140000)


def _memory() -> int:
    """An empty file that is gone when nobody has it open any more."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mcpbridge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    from mcpbridge.orphan.scratch import scratch_file

    return scratch_file()


if __name__ == "__main__":
    main()
