"""
What one daemon hands over to the next about a client, whether it means to or is killed: the doors to the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcpbridge.core.errors import LimitExceeded
from mcpbridge.core.jsonrpc import RequestId
from mcpbridge.ledger.inbox import Inbox
from mcpbridge.ledger.memory import MAX_STATE, Memory
from mcpbridge.ledger.output import Output
from mcpbridge.ledger.slots import Slots
from mcpbridge.ledger.state import State


class Handover:
    """
    The ledger of one client, opened. Only one daemon may have it open at a time; the relay sees to that.

    @ivar inbox: what the client wrote and nobody has dealt with.
    @ivar slots: its open requests.
    @ivar output: how far the line that is being written to it has come.
    @ivar inherited: whether an earlier daemon served this client.
    """

    def __init__(self, fd: int) -> None:
        """
        @param fd: a file that the relay keeps open. It is closed by L{close}, and if this raises.
        @raise UnusableMemory: it is no such file.
        """
        self._memory = Memory(fd)
        self.inherited = self._memory.inherited
        self.inbox = Inbox(self._memory)
        self.slots = Slots(self._memory, self.inbox.position)
        self.output = Output(self._memory)
        self._state = State(self._memory)
        self.slots.settle(self.output.answered)
        self.output.settled()

    def remember(self, state: bytes) -> None:
        """See L{mcpbridge.interfaces.IClientMemory}."""
        if len(state) > MAX_STATE:
            raise LimitExceeded(f"the state of a client has {len(state)} bytes; {MAX_STATE} can be remembered")
        if state != self._state.read():
            self._state.write(state)

    def remembered(self) -> bytes:
        """See L{mcpbridge.interfaces.IClientMemory}."""
        return self._state.read()

    def unanswered(self) -> Sequence[RequestId]:
        """See L{mcpbridge.interfaces.IClientMemory}."""
        return tuple(request_id for request_id in self.slots.inherited if request_id in self.slots.taken)

    def close(self) -> None:
        """Leave it to the next daemon. Idempotent; nothing else may be called afterwards."""
        self.inbox.close()
        self.slots.close()
        self._memory.close()
