"""
An L{IMessageLink} that writes down what it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from zope.interface import implementer

from mcpbridge.core.errors import Loss
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId
from mcpbridge.interfaces import IMessageLink


@implementer(IMessageLink)
@attrs.define(eq=False)
class RecordingLink:
    """
    @ivar told: name of the method and its arguments, in order.
    """

    told: list[tuple[Any, ...]] = attrs.field(factory=list)

    def received(self, message: Message, within: RequestId | None) -> None:
        """Write it down."""
        self.told.append(("received", message, within))

    def received_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        """Write it down."""
        self.told.append(("received_batch", tuple(messages)))

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """Write it down."""
        self.told.append(("received_garbage", str(invalid)))

    def request_lost(self, request_id: RequestId, loss: Loss) -> None:
        """Write it down."""
        self.told.append(("request_lost", request_id, loss))

    def disconnected(self, loss: Loss) -> None:
        """Write it down."""
        self.told.append(("disconnected", loss))

    def congested(self) -> None:
        """Write it down."""
        self.told.append(("congested",))

    def relieved(self) -> None:
        """Write it down."""
        self.told.append(("relieved",))

    def take(self) -> list[tuple[Any, ...]]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told
