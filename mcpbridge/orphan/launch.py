"""
Starting a daemon: one, however many relays want it at the same moment, and with nothing of the client's in it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal without its enumerations
import contextlib
import fcntl
import os
import re
import select
import sys
import time
from collections.abc import Callable, Mapping

from mcpbridge import paths

#: Seconds that a daemon may take until it listens.
DEADLINE = 30.0
#: Seconds for which a failed start is not repeated by the next relay.
RECENT = 2.0
#: Bytes of the daemon's log above which it is put aside before the next start.
MAX_LOG = 8 * 1024 * 1024
# Seconds between two looks at whether another relay has succeeded.
_LOOK = 0.03
# The descriptor that the daemon says it is ready on.
_READY = 3

#: What a daemon may know of the environment that a client was started in: where things are, and how the user speaks.
#: Agents pass their keys in theirs.
PASSED = frozenset(
    (
        "HOME",
        "USER",
        "LOGNAME",
        "PATH",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
    )
)
PASSED_PREFIXES = ("LC_", "XDG_", "MCPBRIDGE_")

_reference = re.compile(rb"\$\{([A-Za-z_][A-Za-z0-9_]*)")

Wait = Callable[[Mapping[int, int], float], dict[int, int]]


def launch(path: str, connect: Callable[[], object], wait: Wait, again: bool = False) -> str:
    """
    See to it that a daemon listens.

    @param path: of its socket.
    @param connect: whether one does: something, or L{None}.
    @param wait: sleeps.
    @param again: this is not the first time that we want one: where a start has just failed, do not repeat it.
    @return: empty, or a sentence about why there is none.
    """
    fault = paths.secure_directory(os.path.dirname(path))
    if fault:
        return fault
    end = time.monotonic() + DEADLINE
    try:
        lock = os.open(path + ".start", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        return f"cannot start a daemon: {path}.start: {error.strerror}"
    try:
        while not _locked(lock):
            wait({}, _LOOK)
            if _there(connect):
                return ""
            if time.monotonic() > end:
                return "another relay has been starting the daemon for too long"
        if _there(connect):
            return ""
        sentence = _recent_failure(lock) if again else ""
        if not sentence:
            sentence = _start(path, wait, end)
            os.ftruncate(lock, 0)
            os.pwrite(lock, sentence.encode("utf-8", "backslashreplace"), 0)
        return sentence
    finally:
        os.close(lock)


def daemon_environment(environment: Mapping[str, str], path: str) -> dict[str, str]:
    """
    What of a client's environment the daemon gets.

    @param environment: the client's.
    @param path: of the socket.
    """
    named = _named(environment)
    passed = {
        name: value
        for name, value in environment.items()
        if name in PASSED or name.startswith(PASSED_PREFIXES) or name in named
    }
    passed["HOME"] = paths.home(environment)
    # The daemon has another working directory.
    passed["MCPBRIDGE_SOCKET"] = path
    if environment.get("MCPBRIDGE_CONFIG"):
        passed["MCPBRIDGE_CONFIG"] = paths.configuration_path(environment)
    passed["MCPBRIDGE_STATE_DIR"] = paths.state_directory(environment)
    python_path = [os.path.abspath(part) for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    root = os.path.dirname(os.path.dirname(os.path.abspath(paths.__file__)))
    if root not in python_path and root not in map(os.path.abspath, sys.path[1:]):
        # Found by the working directory alone, as in a checkout.
        python_path.insert(0, root)
    if python_path:
        passed["PYTHONPATH"] = os.pathsep.join(python_path)
    return passed


def _named(environment: Mapping[str, str]) -> set[str]:
    """The variables that the configuration names. It is not parsed: one name too many does no harm."""
    text = environment.get("MCPBRIDGE_SERVERS", "").encode("utf-8", "surrogateescape")
    try:
        with open(paths.configuration_path(environment), "rb") as file:
            text += b"\n" + file.read()
    except OSError:
        pass  # The daemon says what is wrong with it, should that be a fault.
    return {name.decode("ascii") for name in _reference.findall(text)}


def _there(connect: Callable[[], object]) -> bool:
    return connect() is not None


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _recent_failure(lock: int) -> str:
    found = os.fstat(lock)
    if found.st_size and time.time() - found.st_mtime < RECENT:
        return os.pread(lock, 4096, 0).decode("utf-8", "replace")
    return ""


def _start(path: str, wait: Wait, end: float) -> str:
    log_path = os.path.join(paths.state_directory(), "daemon.log")
    try:
        log = _open_log(log_path)
    except OSError as error:
        return f"cannot start a daemon: {log_path}: {error.strerror}"
    written = os.fstat(log).st_size
    ready, tell = os.pipe()
    environment = daemon_environment(os.environ, path)
    environment["MCPBRIDGE_READY_FD"] = str(_READY)
    child = os.fork()
    if not child:
        _become_daemon(log, tell, environment)
    os.close(tell)
    os.waitpid(child, 0)
    said = _listen(ready, wait, end)
    os.close(ready)
    sentence = said.decode("utf-8", "replace").strip()
    if sentence == "ready":
        sentence = ""
    elif not sentence:
        why = "takes too long to start" if time.monotonic() > end else "ended when it was started"
        sentence = f"the daemon {why}{_last_words(log, written)}; its log is {log_path}"
    os.close(log)
    return sentence


def _open_log(path: str) -> int:
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    try:
        if os.stat(path).st_size > MAX_LOG:
            os.replace(path, path + ".1")
    except FileNotFoundError:
        pass
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _become_daemon(log: int, tell: int, environment: Mapping[str, str]) -> None:
    """In the child. Never returns."""
    try:
        os.setsid()
        # Twice, so that it is nobody's child: clients end the descendants of what they started.
        if os.fork():
            os._exit(0)
        for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGPIPE, _signal.SIGCHLD):
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        nothing = os.open(os.devnull, os.O_RDONLY)
        # Out of the way of the numbers that are given out below.
        nothing, log, tell = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (nothing, log, tell))
        for fd, number in ((nothing, 0), (log, 1), (log, 2), (tell, _READY)):
            os.dup2(fd, number, inheritable=True)
        # Whatever the client left open would stay open for as long as the daemon lives.
        for name in os.listdir("/dev/fd"):
            if int(name) > _READY:
                with contextlib.suppress(OSError):  # The one that the folder itself was read by.
                    os.close(int(name))
        try:
            os.chdir(environment["HOME"])
        except OSError:
            os.chdir("/")
        command = [sys.executable, "-m", "mcpbridge", "serve"]
        os.execve(sys.executable, command, environment)  # noqa: S606  # no shell is what we want
    except OSError as error:
        os.write(_READY, f"cannot start a daemon: {sys.executable}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _listen(ready: int, wait: Wait, end: float) -> bytes:
    """What the daemon says: a line, or nothing."""
    said = b""
    while not said.endswith(b"\n") and time.monotonic() < end:
        if ready in wait({ready: select.POLLIN}, end - time.monotonic()):
            data = os.read(ready, 4096)
            if not data:
                break
            said += data
    return said


def _last_words(log: int, start: int) -> str:
    """The last line that a daemon wrote to its log before it ended."""
    size = os.fstat(log).st_size
    lines = os.pread(log, 4096, max(start, size - 4096)).decode("ascii", "backslashreplace").split("\n")
    words = [line.strip() for line in lines if line.strip()]
    if not words:
        return ""
    return f" ({''.join(character for character in words[-1][:300] if character.isprintable())})"
