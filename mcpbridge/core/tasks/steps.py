"""
What is to be done about tasks: the bridge does it.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from mcpbridge.core.effects import StartTimer, StopTimer
from mcpbridge.core.events import Called, Event


@attrs.frozen
class Up:
    """This goes to the server, in the name of the client."""

    event: Event


@attrs.frozen
class Down:
    """This is told to the client."""

    event: Event


@attrs.frozen
class Post:
    """This goes to the server; nobody waits for its answer, and nobody need be there any more."""

    event: Called


Step: TypeAlias = Up | Down | Post | StartTimer | StopTimer
