"""
What may be claimed to one side, given what the other can do. Never invents a capability.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.revisions import COMPLETIONS, ELICITATION, ELICITATION_MODES, SAMPLING_TOOLS, STATELESS, TASKS

_EMPTY = Raw(b"{}")


#: The extension that tasks of the stateless era are.
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"


def with_list_changed(opening: Raw) -> Raw:
    """
    A server's opening answer for a client that is served from memory: lists may turn out to be different, and the
    client is told, so C{listChanged} is true for each list that the server has.
    """
    found = jsonrpc.members(opening)
    capabilities = declared(found)
    for subject in ("tools", "prompts", "resources"):
        if subject in capabilities:
            offered = _object(capabilities[subject])
            offered["listChanged"] = Raw(b"true")
            capabilities[subject] = jsonrpc.assemble(offered)
    found["capabilities"] = jsonrpc.assemble(capabilities)
    return jsonrpc.assemble(found)


def declared(opening: Mapping[str, Raw]) -> dict[str, Raw]:
    """The capabilities in the params or the result of an C{initialize}; empty if there are none."""
    return _object(opening.get("capabilities", _EMPTY))


def has_extension(capabilities: Raw, name: str) -> bool:
    """Whether these capabilities, a client's or a server's, declare an extension."""
    return name in _object(_object(capabilities).get("extensions", _EMPTY))


def announces_changes(capabilities: Mapping[str, Raw], subject: str) -> bool:
    """Whether a server says that it tells when this list changes."""
    return _object(capabilities.get(subject, _EMPTY)).get("listChanged") == Raw(b"true")


#: Which capability of a client a question of a server needs (MCP client/roots, client/sampling, client/elicitation).
NEEDS: Final = {
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
}


def can_answer(capabilities: Raw, method: str, params: Raw | None) -> bool:
    """
    Whether a client says that it can be asked this.

    @param capabilities: the client's.
    @param method: of the question, with its C{params}.
    """
    needed = NEEDS.get(method)
    offered = None if needed is None else _object(capabilities).get(needed)
    if offered is None or needed != "elicitation":
        return offered is not None
    mode = jsonrpc.decode_string(_object(params or _EMPTY).get("mode")) or "form"
    modes = _object(offered)
    # Neither means forms (client/elicitation, Capabilities).
    return mode in modes or (mode == "form" and "url" not in modes)


def client_capabilities_for(version: str, capabilities: Raw) -> Raw:
    """
    What a client can do, for a server of this revision: nothing that the server could only ask in words that the
    revision does not have.

    @param capabilities: an object; C{capabilities} of an C{initialize}, or what a client of the stateless era says.
    @return: the very same if nothing is taken from it.
    """
    before = _object(capabilities)
    after = dict(before)
    if version >= STATELESS and "listChanged" in _object(before.get("roots", _EMPTY)):
        # Servers of that era ask when they want to know.
        after["roots"] = _without(before["roots"], "listChanged")
    if version < SAMPLING_TOOLS and not _object(before.get("sampling", _EMPTY)).keys().isdisjoint(("tools", "context")):
        after["sampling"] = _without(before["sampling"], "tools", "context")
    if "elicitation" in before:
        elicitation = _elicitation_for(version, before["elicitation"])
        if elicitation is None:
            del after["elicitation"]
        else:
            after["elicitation"] = elicitation
    if not TASKS <= version < STATELESS:
        after.pop("tasks", None)
    if version < STATELESS and TASKS_EXTENSION in _object(before.get("extensions", _EMPTY)):
        after["extensions"] = _without(before["extensions"], TASKS_EXTENSION)
        if after["extensions"] == _EMPTY:
            del after["extensions"]
    return capabilities if after == before else jsonrpc.assemble(after)


def _elicitation_for(version: str, elicitation: Raw) -> Raw | None:
    modes = _object(elicitation)
    # Elicitation, Capabilities: neither means forms.
    has_forms = "form" in modes or "url" not in modes
    if version < ELICITATION or (version < ELICITATION_MODES and not has_forms):
        return None
    if version < ELICITATION_MODES and not modes.keys().isdisjoint(("form", "url")):
        return _without(elicitation, "form", "url")
    if version >= STATELESS and has_forms and "form" not in modes:
        return jsonrpc.assemble({**modes, "form": _EMPTY})
    return elicitation


def server_opening_for(version: str, opening: Raw) -> Raw:
    """
    A server's opening answer for a client of this revision.

    @param opening: shaped like the result of C{initialize}, with the C{protocolVersion} that the server speaks.
    @return: the very same if nothing has to be different.
    """
    found = _object(opening)
    before = declared(found)
    after = dict(before)
    if not TASKS <= version < STATELESS:
        after.pop("tasks", None)
    spoken = jsonrpc.decode_string(found.get("protocolVersion"))
    completable = not before.keys().isdisjoint(("prompts", "resources"))
    if completable and spoken is not None and spoken < COMPLETIONS <= version:
        # Such a server had no way to say that it completes; one that does not says so when it is asked.
        after.setdefault("completions", _EMPTY)
    return opening if after == before else jsonrpc.assemble({**found, "capabilities": jsonrpc.assemble(after)})


def profile(version: str, params: Mapping[str, Raw]) -> str:
    """
    What of a client decides which server session it may take over: the revision and the capabilities that the server
    was told. Clients of equal profile look the same to a server, but for their name.
    """
    capabilities = jsonrpc.read(params.get("capabilities", _EMPTY))
    canonical = jsonrpc.canonical({"version": version, "capabilities": capabilities})
    return hashlib.sha256(canonical).hexdigest()[:32]


def _object(raw: Raw) -> dict[str, Raw]:
    try:
        return jsonrpc.members(raw)
    except InvalidMessage:
        return {}


def _without(raw: Raw, *names: str) -> Raw:
    return jsonrpc.assemble({name: value for name, value in _object(raw).items() if name not in names})
