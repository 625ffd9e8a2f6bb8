"""
A client that has said its last word but still listens.
"""

from __future__ import annotations

from mcpbridge.interfaces import IMessageLink


class IHalfCloseableLink(IMessageLink):
    """
    A link that wants to know about that. One that does not is told when the connection ends as a whole.
    """

    def no_more() -> None:
        """
        Nothing more will be received. Open requests are still to be answered, for which there is a deadline; what has
        no end of its own should be ended now. C{disconnected} follows when nothing is open.
        """
