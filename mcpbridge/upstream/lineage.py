"""
Which processes descend from which connection of which daemon.

Each child is started with a marker in its environment, which its descendants inherit. So they are found wherever they
went: into another session, to another parent, and also by the next daemon if this one was killed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import attrs

from mcpbridge.upstream.processes import ProcessTable, Running, adopts_orphans

#: Hexadecimal digits of the digest in a marker: enough that two state folders never share one by chance.
_DIGEST_SIZE = 16


@attrs.frozen
class Marker:
    """
    The value of C{MCPBRIDGE_INSTANCE}: C{<digest>:<daemon's pid>:<daemon's start>:<number of the connection>}.

    @ivar home: digest of the daemon's state folder, and of the pid namespace that it numbers processes in: from outside
        of a container its processes can be seen too, with markers that name other pids than there.
    @ivar started: when the daemon was, in clock ticks since the machine was: pids come again.
    """

    home: str
    daemon: int
    started: int
    connection: int

    @classmethod
    def parse(cls, text: str | None) -> Marker | None:
        """The inverse of C{str}; L{None} for anything else."""
        parts = (text or "").split(":")
        if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts[1:]):
            return None
        return cls(parts[0], int(parts[1]), int(parts[2]), int(parts[3]))

    def __str__(self) -> str:
        return f"{self.home}:{self.daemon}:{self.started}:{self.connection}"


class Lineage:
    """The daemon as an ancestor: gives out markers, and finds those who carry them."""

    def __init__(self, state_dir: str, table: ProcessTable | None = None) -> None:
        """
        @param state_dir: the folder that this daemon has for itself; at its start, all that another daemon of the same
            folder left behind is ours to end.
        @param table: where to look for processes.
        """
        self.table = ProcessTable() if table is None else table
        home = f"{os.path.realpath(state_dir)}\0{self.table.namespace()}"
        self._home = hashlib.sha256(home.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST_SIZE]
        self._pid = os.getpid()
        ourselves = self.table.look(self._pid)
        self._started = 0 if ourselves is None else ourselves.started
        self._last = 0
        self._living: set[Marker] = set()

    def issue(self) -> Marker:
        """A marker for a new connection."""
        self._last += 1
        marker = Marker(self._home, self._pid, self._started, self._last)
        self._living.add(marker)
        return marker

    def retire(self, marker: Marker) -> None:
        """The connection is over; who carries its marker from now on is a stray."""
        self._living.discard(marker)

    def survivors(self, marker: Marker, session: int) -> list[Running]:
        """
        All living processes of one connection.

        @param session: of the child that it had; tells those who lost their marker, unless they left the session too.
        """
        # Where orphans come to us, whoever is left is among our descendants, and there is no need to look at all.
        candidates = self.table.descendants(self._pid) if adopts_orphans() else self.table.mine()
        return [
            found
            for found in candidates
            if not found.is_dead
            and (found.session == session or self._carried(found) == marker)
            and not self._is_one_of_us(found)
        ]

    def strays(self, known: Iterable[int]) -> list[Running]:
        """
        Living orphans that came to us and carry the marker of a connection of ours that is over.

        @param known: ids of the children that we started.
        """
        return [
            found
            for found in self.table.adopted(frozenset(known))
            if not found.is_dead and self._is_over(self._carried(found)) and not self._is_one_of_us(found)
        ]

    def orphans(self, known: Iterable[int]) -> list[Running]:
        """
        Living orphans that came to us, and their descendants, whatever they carry.

        @param known: ids of the children that we started.
        """
        found: list[Running] = []
        unseen = self.table.adopted(frozenset(known))
        while unseen:
            process = unseen.pop()
            if not self._is_one_of_us(process):
                unseen += self.table.children(process.pid)
                if not process.is_dead:
                    found.append(process)
        return found

    def left_behind(self) -> list[Running]:
        """Living processes of daemons of this state folder that are dead."""
        spared = {self._pid, *(found.pid for found in self.table.ancestors(self._pid))}
        others = [found for found in self.table.mine() if found.pid not in spared and not found.is_dead]
        carriers = {found for found in others if self._is_left(self._carried(found))}
        # Some programs write their title over their environment. No session of a carrier has strangers in it.
        sessions = {carrier.session for carrier in carriers}
        return [
            found
            for found in others
            if (found in carriers or found.session in sessions) and not self._is_one_of_us(found)
        ]

    def _carried(self, process: Running) -> Marker | None:
        return Marker.parse(self.table.marker(process.pid))

    def _is_ours(self, marker: Marker) -> bool:
        return (marker.home, marker.daemon, marker.started) == (self._home, self._pid, self._started)

    def _is_over(self, marker: Marker | None) -> bool:
        return marker is not None and self._is_ours(marker) and marker not in self._living

    def _is_left(self, marker: Marker | None) -> bool:
        return marker is not None and marker.home == self._home and not self._is_alive(marker)

    def _is_alive(self, marker: Marker) -> bool:
        daemon = self.table.look(marker.daemon)
        return daemon is not None and not daemon.is_dead and daemon.started == marker.started

    def _is_one_of_us(self, process: Running) -> bool:
        return is_mcpbridge(self.table.arguments(process.pid))


_MODULES = frozenset(("mcpbridge", "mcpbridge.stdio", "mcpbridge.__main__"))
_PROGRAMS = frozenset(("mcpbridge", "mcpbridge-stdio"))


def is_mcpbridge(arguments: list[str]) -> bool:
    """
    Whether this is the command line of a relay or a daemon.

    A server may well start an agent, that a relay, and that a daemon, which inherit a marker and belong to nobody.
    """
    names = [os.path.basename(argument) for argument in arguments[:2]]
    if _PROGRAMS.intersection(names):
        return True
    if any(name.startswith("twistd") for name in names):
        return "mcpbridge" in arguments or any(argument.endswith("mcpbridge.tac") for argument in arguments)
    # The interpreter's own options end with -m and a module.
    return "-m" in arguments[:-1] and arguments[arguments.index("-m") + 1] in _MODULES
