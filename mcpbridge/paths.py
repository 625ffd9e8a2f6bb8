"""
Where the socket, the configuration and the state are.

Relay and daemon must come to the same answers, and the relay may not import more than this.
"""

import os
import stat

TYPE_CHECKING = False  # Not from typing: the relay imports this.
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes of a socket's path, the NUL at its end not counted (unix(7)).
MAX_SOCKET_PATH = 107


def socket_path(environment: "Mapping[str, str]" = os.environ) -> str:
    """
    The socket that relays find the daemon by.

    Agents start their servers with more or less of the user's environment, and with and without XDG_RUNTIME_DIR they
    have to find the same daemon: so where it is missing we look where it usually points. TMPDIR plays no part for the
    same reason.

    @return: its absolute path; it may be too long for a socket if the user set it.
    """
    given = environment.get("MCPBRIDGE_SOCKET")
    if given:
        return os.path.abspath(given)
    uid = os.getuid()
    for runtime in (environment.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        path = runtime + "/mcpbridge/mcpbridge.sock"
        if runtime[:1] == "/" and len(os.fsencode(path)) <= MAX_SOCKET_PATH and _is_ours(runtime, uid):
            return path
    return f"/tmp/mcpbridge-{uid}/mcpbridge.sock"  # noqa: S108  # see secure_directory


def configuration_path(environment: "Mapping[str, str]" = os.environ) -> str:
    """The user's configuration; it may not exist."""
    given = environment.get("MCPBRIDGE_CONFIG")
    if given:
        return os.path.abspath(given)
    return _xdg(environment, "XDG_CONFIG_HOME", ".config") + "/mcpbridge/config.json"


def state_directory(environment: "Mapping[str, str]" = os.environ) -> str:
    """The directory of what is kept between runs, the daemon's log among it; it may not exist."""
    given = environment.get("MCPBRIDGE_STATE_DIR")
    if given:
        return os.path.abspath(given)
    return _xdg(environment, "XDG_STATE_HOME", ".local/state") + "/mcpbridge"


def secure_directory(directory: str) -> str:
    """
    Make the directory of the socket, if it is not there, and see whether only its owner can reach what is in it.

    @return: empty, or a sentence about what is wrong with it and what to do.
    """
    try:
        if not os.path.lexists(directory):
            os.makedirs(os.path.dirname(directory), exist_ok=True)
            try:  # noqa: SIM105  # contextlib is not for the relay
                os.mkdir(directory, 0o700)
            except FileExistsError:
                pass  # Somebody was quicker; what they made is looked at like any other.
        found = os.lstat(directory)
    except OSError as error:
        return f"{directory}, where the socket is to be: {error.strerror}; set MCPBRIDGE_SOCKET to another path"
    own = "set MCPBRIDGE_SOCKET to a path in a directory of your own"
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory}, where the socket is to be, is not a directory; {own}"
    if found.st_uid != os.getuid():
        return f"{directory}, where the socket is to be, belongs to another user; {own}"
    if found.st_mode & 0o077:
        return f"{directory}, where the socket is to be, is open to other users; run: chmod 700 {directory}"
    return ""


def home(environment: "Mapping[str, str]" = os.environ) -> str:
    """The user's home directory, or C{/}."""
    given = environment.get("HOME", "")
    if given[:1] == "/":
        return given
    found = os.path.expanduser("~")
    return found if found[:1] == "/" else "/"


def _xdg(environment: "Mapping[str, str]", name: str, default: str) -> str:
    given = environment.get(name, "")
    # XDG Base Directory Specification: relative paths are invalid and to be ignored.
    return given if given[:1] == "/" else os.path.join(home(environment), default)


def _is_ours(directory: str, uid: int) -> bool:
    try:
        return os.stat(directory).st_uid == uid
    except OSError:
        return False
