"""
From a file and an inline text to one L{Configuration}, or to everything that is wrong with them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from os.path import dirname
from types import MappingProxyType
from typing import Any

import attrs

from mcpbridge.configuration.entries import read_entry, read_settings
from mcpbridge.configuration.facts import MIB, ChildUpstream, Configuration, Settings, Upstream
from mcpbridge.configuration.jsonc import loads
from mcpbridge.configuration.report import InvalidConfiguration, Report, shown, suggestion
from mcpbridge.configuration.table import Table
from mcpbridge.configuration.urls import looks_like_url
from mcpbridge.core.printable import printable
from mcpbridge.paths import configuration_path

#: Far above what people write by hand; a wrong path (a database, a disk image) is refused before it fills memory.
MAX_DOCUMENT = 4 * MIB

_SERVERS = "mcpServers"
_OURS = "mcpbridge"
_INLINE = "MCPBRIDGE_SERVERS"
#: How others name the object that holds the servers.
_RENAMED = dict.fromkeys(("servers", "mcp", "mcp_servers", "mcpservers", "mcp-servers", "context_servers"), _SERVERS)
_TOLERATED = {
    "$schema": "is for editors; ignored",
    "inputs": "is another program's; ignored",
    "globalShortcut": "is another program's; ignored",
    "preferences": "is another program's; ignored",
}

#: The built-in server: a first start has something to show.
DEMO = "demo"
_DEMO_FILE = os.path.join(dirname(dirname(os.path.abspath(__file__))), "demo.py")


@attrs.frozen
class _Document:
    """One source, taken apart as far as its outermost object."""

    servers: Table | None
    ours: Table | None
    folder: str | None


def load(environment: Mapping[str, str], *, path: str | None = None, inline: str | None = None) -> Configuration:
    """
    Read the user's configuration.

    Entries of C{inline} stand in place of the file's of the same name. Where there is neither a file nor an inline
    text, the built-in demo server is there.

    @param environment: what C{${VAR}} stands for, and where the file is unless it is given.
    @param path: the file. L{None} means C{MCPBRIDGE_CONFIG}, else the XDG place, where it may be missing.
    @param inline: the C{mcpServers} object as JSON, or an object that holds it. L{None} means C{MCPBRIDGE_SERVERS}.
    @raise InvalidConfiguration: anything is wrong; it says everything that is.
    """
    path = path or environment.get("MCPBRIDGE_CONFIG") or None
    inline = inline or environment.get(_INLINE) or None
    errors: list[str] = []
    warnings: list[str] = []
    sources: list[str] = []
    documents: list[_Document] = []
    place = path or configuration_path(environment)
    text = _read(place, path is not None, errors)
    if text is not None:
        sources.append(place)
        documents.append(_open(text, Report(place, errors, warnings), environment, dirname(os.path.abspath(place))))
    if inline is not None:
        sources.append(_INLINE)
        documents.append(_open(inline, Report(_INLINE, errors, warnings), environment, None, may_be_bare=True))
    defaults = _defaults(documents)
    upstreams = _upstreams(documents, defaults)
    if errors:
        raise InvalidConfiguration(errors)
    if not sources:
        entry = demo_entry()
        upstreams[DEMO] = ChildUpstream(DEMO, entry["command"], tuple(entry["args"]), settings=defaults)
        warnings.append(f'no configuration yet ({printable(place)}): only the built-in server "{DEMO}" is there')
    return Configuration(MappingProxyType(upstreams), defaults, tuple(warnings), tuple(sources))


def demo_entry() -> dict[str, Any]:
    """The built-in server as an entry of C{mcpServers}."""
    # By its file and isolated: a checkout is on nobody's path but the daemon's.
    return {"command": sys.executable, "args": ["-I", _DEMO_FILE]}


def _read(place: str, required: bool, errors: list[str]) -> str | None:
    try:
        with open(place, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except FileNotFoundError:
        if required:
            errors.append(f"{printable(place)}: there is no such file")
        return None
    except OSError as error:
        errors.append(f"{printable(place)}: cannot be read: {error.strerror}")
        return None
    if len(data) > MAX_DOCUMENT:
        errors.append(f"{printable(place)}: is larger than {MAX_DOCUMENT // MIB} MiB: no configuration is")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        errors.append(f"{printable(place)}: byte {error.start} is not UTF-8")
        return None


def _open(
    text: str, report: Report, environment: Mapping[str, str], folder: str | None, may_be_bare: bool = False
) -> _Document:
    try:
        value = loads(text)
    except ValueError as error:
        report.wrong((), str(error))
        return _Document(None, None, folder)
    if not isinstance(value, dict):
        report.wrong((), f'must be an object: {{"{_SERVERS}": {{...}}}}')
        return _Document(None, None, folder)
    if may_be_bare and _is_bare(value):
        return _Document(Table(value, (_SERVERS,), report, environment), None, folder)
    table = Table(value, (), report, environment)
    document = _Document(table.table(_SERVERS), table.table(_OURS), folder)
    table.close({}, _TOLERATED, _RENAMED)
    return document


def _is_bare(value: Mapping[str, Any]) -> bool:
    """Whether this is the C{mcpServers} object itself."""
    # A server may be named "servers", but not be without a key of a server.
    return not any(
        isinstance(value.get(name), dict) and not ({"url", "command", "type"} & value[name].keys())
        for name in (_SERVERS, _OURS, *_RENAMED)
    )


def _defaults(documents: list[_Document]) -> Settings:
    defaults = Settings()
    for document in documents:
        if document.ours is None:
            continue
        table = document.ours.table("defaults")
        if table is not None:
            defaults = read_settings(table, defaults)
            table.close({}, {}, {})
        document.ours.close({}, {}, {})
    return defaults


def _upstreams(documents: list[_Document], defaults: Settings) -> dict[str, Upstream]:
    upstreams: dict[str, Upstream] = {}
    entries: dict[str, tuple[Table, _Document]] = {}
    for document in documents:
        if document.servers is None:
            continue
        for name in document.servers.names:
            entry = document.servers.table(name)
            if entry is not None:
                entries[name] = (entry, document)
    for name, (entry, document) in entries.items():
        upstream = read_entry(name, entry, defaults, document.folder)
        if upstream is not None:
            upstreams[name] = upstream
    return upstreams


def unknown_server(name: str, configuration: Configuration) -> str:
    """A sentence for whoever asked for a server that is not there."""
    asked = shown((name,)) if name else '""'
    if looks_like_url(name):
        return f"{asked} cannot be opened"
    there = ", ".join(printable(known) for known in configuration.upstreams) or "none"
    hint = suggestion(name, configuration.upstreams)
    return f"there is no server {asked} in the configuration{hint or f' (there is: {there})'}"
