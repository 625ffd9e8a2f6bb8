"""
The session era: 2024-11-05 to 2025-11-25.

Theory of operation. A conversation opens with C{initialize} and C{notifications/initialized}; from then on both
sides send requests. Each of the two peers below stands at one end of such a conversation. The server peer faces a
client: it turns requests into exchanges and events of the bridge back into answers. The client peer faces a server:
it sends exchanges as requests under ids of its own. Envelopes end here, on both sides: ids and progress tokens are
never copied from one conversation to the other, because every client counts them from 0.

An exchange is open from its request to its answer or its cancellation; a question is an exchange in the other
direction. Whatever refers to one that is not open is ignored: that is what the specification asks of late answers,
late cancellations and progress after the end.

Differences between the revisions:

============================ ========== ========== ========== ==========
what                         2024-11-05 2025-03-26 2025-06-18 2025-11-25
============================ ========== ========== ========== ==========
arrays of messages (batches) no         yes        no         no
============================ ========== ========== ========== ==========

All else that differs between them is payload, which L{mcpbridge.core.conversion} puts into the words of whoever
receives it.
"""

from mcpbridge.core.eras.legacy.client import ClientPeer
from mcpbridge.core.eras.legacy.dialect import BATCHES, VERSIONS
from mcpbridge.core.eras.legacy.server import ServerPeer

__all__ = ["BATCHES", "VERSIONS", "ClientPeer", "ServerPeer"]
