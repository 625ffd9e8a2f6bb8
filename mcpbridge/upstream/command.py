"""
A command as the user wrote it, and what has to be executed so that it runs apart from us.

Knows nothing of what is said to the process; see L{mcpbridge.upstream.child} for that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import attrs

from mcpbridge.core.errors import Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.printable import printable

#: Characters of a search path in an error text. The first folders are the ones that were thought of.
_SHOWN_PATH = 400

#: How much of C{env} is looked at for the option that we need. GNU's has 50 KB, one that holds all tools 10 MB.
_ENV_SIZE = 16 * 1024 * 1024


@attrs.frozen
class Command:
    """
    What to run.

    @ivar argv: the program and its arguments; never seen by a shell.
    @ivar env: what the user configured for it on top of L{mcpbridge.upstream.environment}. Values are secrets.
    @ivar cwd: the folder to run it in; L{None} for the daemon's own.
    """

    argv: tuple[str, ...] = attrs.field(repr=False)
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    cwd: str | None = None


def locate(command: Command, environment: Mapping[str, str]) -> str:
    """
    Find the program of a command, as C{execvp} would in its environment and folder.

    Done beforehand since behind a launcher a missing program is no more than an exit status.

    @param environment: the one that it will have.
    @return: an absolute path.
    @raise UpstreamUnavailable: there is no such program or folder, or we may not use it.
    """
    folder = _folder(command)
    name = command.argv[0] if command.argv else ""
    if not name:
        raise cannot_start('no command is configured; set "command" to the server\'s program')
    shown = printable(name)
    if "/" in name:
        return _program(os.path.join(folder, name), shown)
    path = environment.get("PATH") or os.defpath
    forbidden = False
    for entry in path.split(os.pathsep):
        # An empty entry means the current folder (POSIX, Environment Variables, PATH).
        found = os.path.join(folder, entry, name)
        if os.path.isfile(found):
            if os.access(found, os.X_OK):
                return found
            forbidden = True
    if forbidden:
        raise cannot_start(f'"{shown}" was found but is not executable; run chmod +x on it')
    raise cannot_start(
        f'the command "{shown}" was not found (searched {printable(path, _SHOWN_PATH)}); '
        "install it, write its full path, or set PATH in the server's env"
    )


def cannot_start(text: str, fate: Fate = Fate.FAILED) -> UpstreamUnavailable:
    """
    A child that was not even started, and why.

    @param fate: L{Fate.NEVER_SENT} if to try again may help without anybody doing anything.
    """
    return UpstreamUnavailable(Loss(fate, Reason.UPSTREAM_UNREACHABLE, f"cannot start the server: {text}"))


def _folder(command: Command) -> str:
    if command.cwd is None:
        return _own_folder()
    shown = printable(command.cwd)
    folder = os.path.join(_own_folder(), command.cwd)
    if not os.path.isdir(folder):
        raise cannot_start(f'its working directory "{shown}" does not exist{_no_tilde(command.cwd)}')
    if not os.access(folder, os.X_OK):
        raise cannot_start(f'its working directory "{shown}" may not be entered')
    return folder


def _own_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        # Somebody removed it under us. Only relative paths needed it.
        return "/"


def _program(found: str, shown: str) -> str:
    if os.path.isdir(found):
        raise cannot_start(f'"{shown}" is a folder; "command" names a program')
    if not os.path.exists(found):
        raise cannot_start(f'the program "{shown}" does not exist{_no_tilde(shown)}')
    if not os.access(found, os.X_OK):
        raise cannot_start(f'"{shown}" is not executable; run chmod +x on it')
    return found


def _no_tilde(path: str) -> str:
    return "; no shell expands the ~, write ${HOME}" if path.startswith("~") else ""


#: Ours in Python, for where C{setsid} or a C{env} with C{--chdir} is missing. Costs the start of an interpreter.
_LAUNCHER = """
import os, signal, sys
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)  # the interpreter ignores them, and so would the program
try:
    os.setsid()
    if sys.argv[1]:
        os.chdir(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"mcpbridge: cannot run {sys.argv[2]}: {error}")
"""


@attrs.frozen
class Launcher:
    """
    How to run a program in a session and process group of its own, and in another folder.

    A parent cannot do that for a child once it runs, and Twisted's spawnProcess does not before; given a folder it
    forks, too, which stops a large daemon for 0.1 s. Small programs that execute the next one can.

    @ivar setsid: path of util-linux's or BusyBox's program; L{None} if there is none.
    @ivar env: path of an C{env} that knows C{--chdir}; L{None} if there is none.
    @ivar python: what else can do both.
    """

    setsid: str | None
    env: str | None
    python: str = sys.executable

    @classmethod
    def find(cls, path: str = "/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin") -> Launcher:
        """
        See what this machine has. Reads files, so do it once.

        @param path: folders to look in: the system's, not the user's.
        """
        setsid = _search("setsid", path)
        env = _search("env", path)
        return cls(setsid, env if env is not None and _changes_folder(env) else None)

    def arguments(self, program: str, command: Command) -> tuple[str, ...]:
        """
        What to execute so that the program runs as the command says.

        @param program: from L{locate}.
        """
        argv = (program, *command.argv[1:])
        if self.setsid is None or (command.cwd is not None and self.env is None):
            return (self.python, "-I", "-S", "-c", _LAUNCHER, command.cwd or "", *argv)
        if command.cwd is None:
            return (self.setsid, *argv)
        assert self.env is not None
        return (self.env, f"--chdir={command.cwd}", self.setsid, *argv)


def _search(name: str, path: str) -> str | None:
    for folder in path.split(os.pathsep):
        found = os.path.join(folder, name)
        if os.access(found, os.X_OK):
            return found
    return None


def _changes_folder(env: str) -> bool:
    # GNU since 8.28 and some others. To ask it would take a process, so its text is searched for the option.
    if "busybox" in os.path.realpath(env):
        return False
    try:
        with open(env, "rb") as program:
            return b"--chdir=" in program.read(_ENV_SIZE)
    except OSError:
        return False
