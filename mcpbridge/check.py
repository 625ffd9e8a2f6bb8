"""
C{python -m mcpbridge check}: reads the configuration as the daemon would, and touches nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from mcpbridge.columns import columns
from mcpbridge.configuration import Configuration, HTTPUpstream, InvalidConfiguration, Upstream, load
from mcpbridge.core.printable import printable


def check(environment: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """
    Say what the configuration holds; no secret is shown.

    @return: the exit status: 1 if the daemon would refuse it.
    """
    try:
        configuration = load(environment)
    except InvalidConfiguration as error:
        for problem in error.problems:
            print(f"error: {problem}", file=err)
        return 1
    for line in _lines(configuration):
        print(line, file=out)
    for warning in configuration.warnings:
        print(f"warning: {warning}", file=err)
    return 0


def _lines(configuration: Configuration) -> list[str]:
    upstreams = [configuration.upstreams[name] for name in configuration.upstreams]
    sources = " and ".join(map(printable, configuration.sources)) or "no configuration"
    count = f"{len(upstreams)} server{'' if len(upstreams) == 1 else 's'}"
    rows = [
        (printable(upstream.name), _kind(upstream), printable(upstream.shown), _settings(upstream))
        for upstream in upstreams
    ]
    return [f"{count} from {sources}", *columns(rows)]


def _kind(upstream: Upstream) -> str:
    if not isinstance(upstream, HTTPUpstream):
        return "stdio"
    return "http" if upstream.transport == "auto" else upstream.transport


def _settings(upstream: Upstream) -> str:
    settings = upstream.settings
    return f"{settings.session.value}{'' if settings.snapshot else ', no snapshot'}"
