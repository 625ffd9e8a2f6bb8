"""
How the relay is called.
"""

from __future__ import annotations

import os
from collections.abc import Set
from typing import NoReturn

USAGE = """\
usage: python -m mcpbridge.stdio [--no-start] [--standalone] NAME-or-URL

Connects an MCP client, on stdin and stdout, to a server that the mcpbridge
daemon looks after.

  NAME          a server of your configuration
  URL           an http or https URL of a server that is in no configuration
  --no-start    do not start a daemon if none runs
  --standalone  do without a daemon: serve one client in one process
"""


def explain(options: Set[str]) -> NoReturn:
    """
    Say it, where it was asked for or where something is wrong with it, and end the process.

    @param options: those that were given.
    """
    asked = bool(options & {"-h", "--help"})
    os.write(1 if asked else 2, USAGE.encode("ascii"))
    os._exit(0 if asked else 2)
