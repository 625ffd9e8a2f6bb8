"""
One entry of C{mcpServers}: the keys, what they may hold, and what other programs write there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os.path import isabs, join
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import attrs

from mcpbridge.configuration.authorization import read_authorization
from mcpbridge.configuration.facts import MIB, ChildUpstream, HTTPKind, HTTPUpstream, Settings, Sharing, Upstream
from mcpbridge.configuration.table import Table
from mcpbridge.configuration.urls import checked_url, looks_like_url

#: Bounds that no honest configuration meets. A day is longer than any tool call; the least time is one that a
#: loopback round trip can meet.
_DAY_MS = 24 * 60 * 60 * 1000
_LEAST_MS = 1
#: Claude Code and others count C{timeout} in milliseconds, some clients in seconds: below this it was seconds.
_SUSPICIOUS_MS = 1000
_MOST_SESSIONS = 1024
_LEAST_MESSAGE = 64 * 1024
_MOST_MESSAGE = 1024 * MIB
#: A name is a word on a command line and part of file names and log lines.
_LONGEST_NAME = 128

_Kind: TypeAlias = HTTPKind | Literal["stdio"]
_KINDS: Mapping[str, _Kind] = {
    "stdio": "stdio",
    "http": "auto",
    "streamable-http": "streamable-http",
    "streamableHttp": "streamable-http",
    "sse": "sse",
}
_SHARINGS = {sharing.value: sharing for sharing in Sharing}

#: RFC 9110, 5.6.2 and 5.5; ASCII only, since nobody agrees on more.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e]*")
#: What the transports say themselves; a second opinion would break the framing or the session.
_OWN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

_CLIENTS_BUSINESS = "is the client's business; ignored"
_TOLERATED = {
    **dict.fromkeys(
        (
            "allowedTools",
            "alwaysAllow",
            "autoApprove",
            "autoStart",
            "category",
            "comment",
            "_comment",
            "description",
            "dev",
            "disabledTools",
            "displayName",
            "enabledTools",
            "excludeTools",
            "gallery",
            "icon",
            "includeTools",
            "metadata",
            "name",
            "note",
            "notes",
            "tags",
            "title",
            "tools",
            "trust",
            "version",
        ),
        _CLIENTS_BUSINESS,
    ),
}
_RENAMED = {
    "baseUrl": "url",
    "endpoint": "url",
    "httpUrl": "url",
    "serverUrl": "url",
    "uri": "url",
    "cmd": "command",
    "program": "command",
    "arguments": "args",
    "environment": "env",
    "workingDirectory": "cwd",
    "directory": "cwd",
    "transport": "type",
    "transportType": "type",
    "requestTimeout": "timeout",
    "toolTimeout": "timeout",
    "startupTimeout": "initializeTimeout",
}
_CHILD_KEYS = dict.fromkeys(("command", "args", "env", "cwd"), 'belongs to a server with "command", not "url"')
_HTTP_KEYS = dict.fromkeys(
    ("url", "headers", "oauth", "bearerToken", "headersHelper", "tls", "proxy"),
    'belongs to a server with "url", not "command"',
)


def read_entry(name: str, table: Table, defaults: Settings, folder: str | None) -> Upstream | None:
    """
    Read one server.

    @param folder: what a relative C{cwd} is relative to; L{None} to leave it as it is.
    @return: the server; L{None} if it is switched off. What is wrong is in the table's report; the value is of no
        use then.
    """
    # Switched off: nothing else is looked at, so that its variables need not be set.
    switches = (table.flag("disabled"), table.flag("enabled"))
    if switches[0] is True or switches[1] is False:
        return None
    _check_name(name, table)
    settings = read_settings(table, defaults)
    kind = table.choice("type", _KINDS)
    if "url" in table and "command" in table:
        table.wrong(None, 'has both "url" and "command"; which one is it?')
        return None
    if "url" in table:
        return _read_http(name, table, settings, kind, folder)
    if "command" in table or kind == "stdio":
        return _read_child(name, table, settings, kind, folder)
    if kind is not None:
        table.wrong(None, 'has no "url"')
    else:
        table.wrong(None, 'needs "command" (a program to start) or "url" (a server to call)')
    table.close({}, {**_TOLERATED, **dict.fromkeys((*_CHILD_KEYS, *_HTTP_KEYS), "not looked at")}, _RENAMED)
    return None


#: By how the user writes them: the sessions of 2024-11-05 to 2025-11-25, or no sessions as from 2026-07-28 on.
_ERAS = {"legacy": "legacy", "modern": "modern"}


def read_settings(table: Table, defaults: Settings) -> Settings:
    """Read the keys that an entry and C{mcpbridge.defaults} share."""
    timeout = table.milliseconds("timeout", _LEAST_MS, _DAY_MS)
    if timeout is not None and timeout * 1000 < _SUSPICIOUS_MS:
        table.odd("timeout", f"is in milliseconds: a call may take {timeout:g} s only")
    found: dict[str, Any] = {
        "session": table.choice("session", _SHARINGS),
        "snapshot": table.flag("snapshot"),
        "timeout": timeout,
        "initialize_deadline": table.milliseconds("initializeTimeout", _LEAST_MS, _DAY_MS),
        "idle_timeout": table.milliseconds("idleTimeout", 0, _DAY_MS),
        "max_sessions": table.integer("maxSessions", 1, _MOST_SESSIONS),
        "max_message": table.integer("maxMessage", _LEAST_MESSAGE, _MOST_MESSAGE),
        "era": table.choice("era", _ERAS),
    }
    return attrs.evolve(defaults, **{key: value for key, value in found.items() if value is not None})


def _check_name(name: str, table: Table) -> None:
    if not name.strip() or name != name.strip():
        table.wrong(None, "a server's name must not be empty, nor begin or end with white space")
    elif not name.isprintable() or len(name) > _LONGEST_NAME:
        table.wrong(None, f"a server's name must be printable, and at most {_LONGEST_NAME} characters long")
    elif name.startswith("-") or looks_like_url(name):
        table.wrong(None, 'a server\'s name must not begin with "-" nor hold "://"')


def _read_http(name: str, table: Table, settings: Settings, kind: _Kind | None, folder: str | None) -> HTTPUpstream:
    if kind == "stdio":
        table.wrong("type", 'is "stdio", but there is a "url"')
        kind = None
    url = table.text("url")
    if url is not None:
        try:
            url = checked_url(url)
        except ValueError as error:
            table.wrong("url", f"this URL {error}")
    headers = _read_headers(table)
    static = any(header.lower() == "authorization" for header in headers)
    authorization = read_authorization(table, url or "", folder, static=static)
    table.close(_CHILD_KEYS, _TOLERATED, _RENAMED)
    return HTTPUpstream(name, url or "", kind or "auto", MappingProxyType(headers), settings, authorization)


def _read_headers(table: Table) -> dict[str, str]:
    headers: dict[str, str] = {}
    written = table.text_map("headers")
    seen: set[str] = set()
    for name, padded in written.items():
        value = padded.strip(" \t")
        if fault := _header_fault(name, value, seen):
            table.report.wrong((*table.path, "headers", name), fault)
        seen.add(name.lower())
        headers[name] = value
    return headers


def _header_fault(name: str, value: str, seen: set[str]) -> str | None:
    if not _TOKEN.fullmatch(name):
        return "this is no header name"
    if name.lower() in _OWN_HEADERS:
        return "mcpbridge sets this header itself"
    if name.lower() in seen:
        return "the same header twice; upper and lower case make no difference"
    if "\n" in value or "\r" in value:
        return "the value holds a line break (a variable that ends with one?)"
    if not _FIELD_VALUE.fullmatch(value):
        return "the value holds a character that is not printable ASCII"
    return None


def _read_child(name: str, table: Table, settings: Settings, kind: _Kind | None, folder: str | None) -> ChildUpstream:
    if kind not in (None, "stdio"):
        table.wrong("type", 'is for a server with "url", but there is a "command"')
    command = table.text("command")
    if "command" not in table:
        table.wrong(None, 'has no "command"')
    elif command is not None and not command.strip():
        table.wrong("command", "must not be empty")
    args = table.texts("args")
    env = table.text_map("env")
    for variable in env:
        if not variable or "=" in variable or "\0" in variable:
            table.wrong("env", "the name of a variable must not be empty, nor hold = or NUL")
        elif variable == "MCPBRIDGE_INSTANCE":
            table.wrong("env", "MCPBRIDGE_INSTANCE is how mcpbridge finds its children; choose another name")
    cwd = table.text("cwd")
    if cwd is not None and not cwd:
        table.wrong("cwd", "must not be empty")
    if cwd is not None and folder is not None and not isabs(cwd):
        cwd = join(folder, cwd)
    table.close(_HTTP_KEYS, _TOLERATED, _RENAMED)
    return ChildUpstream(name, command or "", args, MappingProxyType(env), cwd, settings)
