"""
The stateless era: 2026-07-28.

There is no handshake and there are no sessions. Every request says who asks and what they can do; a server never sends
a request, but ends one with C{input_required} and is asked again with the answers; changes are told on the stream of a
C{subscriptions/listen}. Each of the two peers stands at one end of such a conversation.
"""

from mcpbridge.core.eras.modern.client import ClientPeer
from mcpbridge.core.eras.modern.envelope import VERSIONS
from mcpbridge.core.eras.modern.server import ServerPeer

__all__ = ["VERSIONS", "ClientPeer", "ServerPeer"]
