"""
Tokens that other programs keep: where they are, and in which form.

Only read, never changed. Two programs that renew the same tokens get in each other's way: who imports should not use
both.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from mcpbridge.configuration import HTTPUpstream, load, looks_like_url
from mcpbridge.core.errors import McpbridgeError

#: Characters of one such file.
_MAX_FILE = 1024 * 1024

#: What a client has of its registration and needs to renew (RFC 7591, 3.2.1).
_IDENTITY = ("client_id", "client_secret", "token_endpoint_auth_method")

MCP_REMOTE, CLAUDE_CODE = "mcp-remote", "claude-code"


def find_tokens(source: str, server: str, environment: Mapping[str, str], stdin: TextIO) -> Mapping[str, Any]:
    """
    @param source: a file with a JSON object, C{-} for standard input, or the name of another program.
    @param server: whose; a name in the configuration, or a URL.
    @return: as L{mcpbridge.oauth.imported.read_import} takes it.
    @raise McpbridgeError: there are none.
    """
    if source == MCP_REMOTE:
        found = list(_mcp_remote(_url(server, environment), environment))
    elif source == CLAUDE_CODE:
        found = list(_claude_code(server, _url(server, environment), environment))
    elif source == "-":
        return _object(stdin.read(_MAX_FILE), "standard input")
    else:
        return _object(_read(source), source)
    if not found:
        raise McpbridgeError(f"{source} has no tokens for {server} here")
    # The newest: several versions of a program may have left some.
    return max(found, key=_end)


def _end(tokens: Mapping[str, Any]) -> float:
    expires = tokens.get("expires_at")
    return float(expires) if isinstance(expires, int | float) else 0.0


def _url(server: str, environment: Mapping[str, str]) -> str:
    if looks_like_url(server):
        return server
    upstream = load(environment).upstreams.get(server)
    if not isinstance(upstream, HTTPUpstream):
        raise McpbridgeError(f"{server} is not a server behind a URL")
    return upstream.url


def _mcp_remote(url: str, environment: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """C{~/.mcp-auth/mcp-remote-VERSION/HASH_tokens.json}, where the hash is that of the URL as the user wrote it."""
    folder = environment.get("MCP_REMOTE_CONFIG_DIR") or os.path.join(_home(environment), ".mcp-auth")
    for spelling in (url, url.rstrip("/"), url.rstrip("/") + "/"):
        mark = hashlib.md5(spelling.encode("utf-8"), usedforsecurity=False).hexdigest()
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), "mcp-remote-*", f"{mark}_tokens.json"))):
            tokens = dict(_object(_read(path), path))
            written = os.stat(path).st_mtime
            lifetime = tokens.pop("expires_in", None)
            if isinstance(lifetime, int | float):
                tokens["expires_at"] = written + lifetime
            client = path.removesuffix("_tokens.json") + "_client_info.json"
            if os.path.exists(client):
                said = _object(_read(client), client)
                tokens |= {name: said[name] for name in _IDENTITY if name in said}
            yield tokens


def _claude_code(server: str, url: str, environment: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """C{.credentials.json}, member C{mcpOAuth}; on systems with a keychain it is there instead and cannot be read."""
    folder = environment.get("CLAUDE_CONFIG_DIR") or os.path.join(_home(environment), ".claude")
    path = os.path.join(folder, ".credentials.json")
    if not os.path.exists(path):
        return
    kept = _object(_read(path), path).get("mcpOAuth")
    for entry in kept.values() if isinstance(kept, dict) else ():
        if not isinstance(entry, dict) or str(entry.get("serverUrl")).rstrip("/") != url.rstrip("/"):
            continue
        names = {
            "access_token": "accessToken",
            "refresh_token": "refreshToken",
            "client_id": "clientId",
            "client_secret": "clientSecret",
            "scope": "scope",
        }
        tokens = {name: entry[theirs] for name, theirs in names.items() if entry.get(theirs)}
        expires = entry.get("expiresAt")
        if isinstance(expires, int | float) and expires > 0:
            # In milliseconds.
            tokens["expires_at"] = expires / 1000
        if tokens.get("access_token") or tokens.get("refresh_token"):
            yield tokens


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_MAX_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise McpbridgeError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None


def _object(text: str, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise McpbridgeError(f"{where} holds no JSON object")
    if isinstance(found.get("expires_at"), int | float) and found["expires_at"] > 1e12:
        # In milliseconds, as JavaScript counts.
        found["expires_at"] /= 1000
    return found
