"""
What a configuration says, once it is known to be sound.

Frozen, comparable by value (a reload touches only what differs), and free of secrets when printed.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import attrs

from mcpbridge.configuration.authorization import NOTHING_SAID, Authorization, describe

MIB = 1024 * 1024

HTTPKind: TypeAlias = Literal["auto", "streamable-http", "sse"]


class Sharing(enum.Enum):
    """Who uses a session with a server (or a child process), and for how long."""

    #: One client at a time; it outlives its client, and the next one takes it over.
    PERSISTENT = "persistent"
    #: One client, and it ends with that client.
    PER_CLIENT = "per-client"
    #: One for all clients at once, by the user's word that the server keeps nothing per client.
    SHARED = "shared"


@attrs.frozen
class Settings:
    """
    How a server is used. Each can be set per server, and for all under C{mcpbridge.defaults}.

    @ivar session: see L{Sharing}.
    @ivar snapshot: answer C{initialize} and the lists from memory, and revalidate behind.
    @ivar timeout: seconds that one call may take. An hour: long builds are called through tools, and a call that
        waits for ever is never noticed.
    @ivar initialize_deadline: seconds that a client's C{initialize} may wait for a server that is not up. Below the
        30 s that most clients give a server to start.
    @ivar idle_timeout: seconds that a session nobody uses is kept besides the first.
    @ivar max_sessions: sessions (or child processes) of one server at once.
    @ivar max_message: bytes of the largest message taken from the server.
    @ivar era: C{legacy}, C{modern}, or L{None} to find out which life cycle of the protocol the server speaks.
    """

    session: Sharing = Sharing.PERSISTENT
    snapshot: bool = True
    timeout: float = 3600.0
    initialize_deadline: float = 25.0
    idle_timeout: float = 600.0
    max_sessions: int = 1024
    max_message: int = 64 * MIB
    era: str | None = None


@attrs.frozen
class HTTPUpstream:
    """
    A server behind a URL.

    @ivar name: what clients call it.
    @ivar url: ASCII, absolute, C{http} or C{https}, without user name and fragment. Its query may be a secret.
    @ivar transport: C{auto} finds out by asking.
    @ivar headers: sent to this server only. Values are secrets.
    @ivar authorization: how it lets us in.
    """

    name: str
    url: str = attrs.field(repr=False)
    transport: HTTPKind = "auto"
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False, hash=False)
    settings: Settings = Settings()
    authorization: Authorization = NOTHING_SAID

    @property
    def shown(self) -> str:
        """Where the server is, fit to be printed: the URL without its query."""
        scheme, host, path, _, _ = urlsplit(self.url)
        return urlunsplit((scheme, host, path, "", ""))


@attrs.frozen
class ChildUpstream:
    """
    A server that runs as our child process.

    @ivar command: a program, by name or by path; never a shell's line.
    @ivar args: its arguments. People put secrets there.
    @ivar env: what its environment has besides the minimum. Values are secrets.
    @ivar cwd: where it runs; L{None} for the daemon's own place.
    """

    name: str
    command: str
    args: tuple[str, ...] = attrs.field(default=(), repr=False)
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False, hash=False)
    cwd: str | None = None
    settings: Settings = Settings()

    @property
    def shown(self) -> str:
        """What is run, fit to be printed: no argument is shown."""
        count = len(self.args)
        return f"{self.command} ({count} argument{'' if count == 1 else 's'})" if count else self.command


Upstream: TypeAlias = HTTPUpstream | ChildUpstream


@attrs.frozen
class Configuration:
    """
    Everything that the user wrote, checked.

    @ivar upstreams: the servers, by name.
    @ivar defaults: for servers that are not in the configuration (a URL in place of a name).
    @ivar warnings: what was tolerated, a sentence each, for the log and for C{check}.
    @ivar sources: where it came from, for humans: a file's path, the name of a variable.
    """

    upstreams: Mapping[str, Upstream] = attrs.field(factory=lambda: MappingProxyType({}), hash=False)
    defaults: Settings = Settings()
    warnings: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


def digest(upstream: Upstream) -> str:
    """
    A stable name for everything that decides what a server answers: the key of what is remembered about it.

    Neither the server's name in the configuration nor its settings take part. Secrets take part as hashes only.

    @return: 64 hexadecimal digits.
    """
    facts: list[object]
    match upstream:
        case HTTPUpstream(url=url, transport=transport, headers=headers, authorization=authorization):
            facts = ["http", url, transport, _hashed({name.lower(): value for name, value in headers.items()})]
            # Left out where it says nothing, so that what is remembered of a server stays good.
            facts += [] if authorization == NOTHING_SAID else [describe(authorization)]
        case ChildUpstream(command=command, args=args, env=env, cwd=cwd):
            facts = ["child", command, list(args), cwd, _hashed(env)]
    return _sha256(json.dumps(facts))


def _hashed(secrets: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((name, _sha256(value)) for name, value in secrets.items())


def _sha256(text: str) -> str:
    # surrogateescape: values come from the environment, which need not be UTF-8.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
