"""
The end of a client that no daemon takes.

Humans read the reason on standard error. Clients hide what is written there, and show what they are answered: so what
they ask first is answered with the same sentence.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from mcpbridge.orphan.substitute import Substitute

if TYPE_CHECKING:
    from typing import NoReturn

    from mcpbridge.orphan.relay import Relay

#: Seconds for the client's first request to come.
FIRST = 5.0
#: Seconds for the next one: a client that is refused one way to begin tries another.
NEXT = 1.0


def refuse(relay: Relay, sentence: str) -> NoReturn:
    """
    Answer the client, and end the process.

    @param sentence: the reason.
    """
    if not os.isatty(0):
        substitute = Substitute(relay, sentence, is_final=True)
        until = time.monotonic() + FIRST
        while (now := time.monotonic()) < until:
            before = substitute.answers
            substitute.turn(relay.wait(substitute.wanted(), until - now), sentence)
            if substitute.answers > before:
                until = time.monotonic() + NEXT
    relay.finish()
    relay.leave(1)
