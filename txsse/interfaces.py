"""
The door between a stream and those who listen to it.
"""

from __future__ import annotations

from twisted.python.failure import Failure
from zope.interface import Interface

from txsse._events import Event


class IEventReceiver(Interface):
    """
    Somebody who listens to one event stream, or to the streams of one source, one after the other.
    """

    def event_received(event: Event) -> None:
        """
        An event was dispatched.

        An exception raised here is logged and ends the stream.
        """

    def retry_received(milliseconds: int) -> None:
        """
        The server set the reconnection time; not yet clamped to anything sensible.
        """

    def stream_ended(reason: Failure | None) -> None:
        """
        The stream is over. Nothing comes after it, and it comes once; not at all if the listener closed the stream
        itself.

        @param reason: L{None} when the server ended the response as HTTP wants it, or closed a connection whose length
            nobody announced. Else what happened: a connection lost half way, L{txsse.EventTooLarge},
            L{txsse.IdleTimeout}, or whatever C{event_received} raised.
        """
