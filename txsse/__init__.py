"""
Server-Sent Events for Twisted (WHATWG HTML 9.2): both ends, bounded, with back-pressure.

It knows HTTP, and nothing of what the events are about.
"""

from txsse._backoff import full_jitter
from txsse._client import open_with
from txsse._errors import (
    ConnectTimeout,
    EventTooLarge,
    IdleTimeout,
    SSEError,
    StreamOverflow,
    UnexpectedResponse,
)
from txsse._events import Event, Retry
from txsse._parser import EventParser
from txsse._receiver import EventReceiver, discard
from txsse._source import ReconnectingEventSource
from txsse._stream import EventStream
from txsse._verdict import Accept, GiveUp, TryAgain, Verdict, judge_failure, judge_patiently, judge_strictly
from txsse._writer import format_comment, format_event
from txsse.interfaces import IEventReceiver

__all__ = [
    "Accept",
    "ConnectTimeout",
    "Event",
    "EventParser",
    "EventReceiver",
    "EventStream",
    "EventTooLarge",
    "GiveUp",
    "IEventReceiver",
    "IdleTimeout",
    "ReconnectingEventSource",
    "Retry",
    "SSEError",
    "StreamOverflow",
    "TryAgain",
    "UnexpectedResponse",
    "Verdict",
    "discard",
    "format_comment",
    "format_event",
    "full_jitter",
    "judge_failure",
    "judge_patiently",
    "judge_strictly",
    "open_with",
]
