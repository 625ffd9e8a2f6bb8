"""
What a task looks like, in either of its two dialects, and how one is said in the other.

The I{session} dialect is that of 2025-11-25 (Tasks): the client asks for a task, C{tasks/result} waits for what comes
of it, a result that says C{isError} is a failure. The I{extension} dialect is C{io.modelcontextprotocol/tasks} of the
stateless era: the server decides, C{tasks/get} tells it all, a failure is an error of JSON-RPC.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, overload

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import TASKS_EXTENSION, declared, has_extension
from mcpbridge.core.conversion.shapes import is_object, listed, mapped, opened, replaced
from mcpbridge.core.errors import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, ErrorObject
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.revisions import STATELESS, TASKS

#: In the C{_meta} of whatever belongs to a task of the session dialect.
RELATED: Final = "io.modelcontextprotocol/related-task"

#: Statuses that a task never leaves.
TERMINAL: Final = frozenset(("completed", "failed", "cancelled"))

#: What a task may ask for that nobody has said how long to keep, in milliseconds: as long as a call may take.
TTL: Final = 3_600_000

#: Seconds between two looks at a task: where its server does not say, at least, and at the most.
USUAL_PAUSE: Final = 1.0
SHORTEST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 30.0

_EMPTY = Raw(b"{}")
_OPTIONAL: Final = Raw(b'{"taskSupport":"optional"}')
_NULL = Raw(b"null")

#: What each member is called: in the session dialect, in the extension.
_RENAMED: Final = (("ttl", "ttlMs"), ("pollInterval", "pollIntervalMs"))
_SHARED: Final = ("taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt")


class Dialect(enum.Enum):
    """How one end of a conversation speaks of tasks."""

    NONE = "none"
    SESSION = "session"
    EXTENSION = "extension"


def dialect_of_server(opening: Mapping[str, Raw]) -> Dialect:
    """
    Of a server, by its opening answer in neutral form: whether its tools may become tasks.

    @param opening: with the C{protocolVersion} that it speaks.
    """
    version = jsonrpc.decode_string(opening.get("protocolVersion")) or ""
    capabilities = declared(opening)
    if version >= STATELESS:
        return (
            Dialect.EXTENSION if has_extension(opening.get("capabilities", _EMPTY), TASKS_EXTENSION) else Dialect.NONE
        )
    requests = opened(opened(capabilities.get("tasks")).get("requests"))
    callable = "call" in opened(requests.get("tools"))
    return Dialect.SESSION if version >= TASKS and callable else Dialect.NONE


def dialect_of_client(version: str, params: Mapping[str, Raw]) -> Dialect:
    """
    Of a client.

    @param version: the revision that it speaks.
    @param params: of its opening. A client of the session dialect need not say that it knows tasks.
    """
    if version >= STATELESS:
        return _of_stateless(params)
    return Dialect.SESSION if version >= TASKS else Dialect.NONE


def _of_stateless(holder: Mapping[str, Raw]) -> Dialect:
    declares = has_extension(holder.get("capabilities", _EMPTY), TASKS_EXTENSION)
    return Dialect.EXTENSION if declares else Dialect.NONE


def with_extension(holder: Mapping[str, Raw]) -> dict[str, Raw]:
    """An opening, the client's or the server's, that declares the extension and no tasks of the session dialect."""
    capabilities = declared(holder)
    capabilities.pop("tasks", None)
    return with_extension_too({**holder, "capabilities": jsonrpc.assemble(capabilities)})


def with_extension_too(params: Mapping[str, Raw]) -> dict[str, Raw]:
    """A client's opening that declares the extension as well."""
    capabilities = declared(params)
    extensions = {**opened(capabilities.get("extensions")), TASKS_EXTENSION: _EMPTY}
    return {**params, "capabilities": jsonrpc.assemble({**capabilities, "extensions": jsonrpc.assemble(extensions)})}


def with_session_tasks(opening: Mapping[str, Raw]) -> dict[str, Raw]:
    """A server's opening that declares tasks of the session dialect in place of the extension."""
    found = without_extension(opening)
    capabilities = declared(found)
    capabilities["tasks"] = jsonrpc.value({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}})
    return {**found, "capabilities": jsonrpc.assemble(capabilities)}


def without_extension(opening: Mapping[str, Raw]) -> dict[str, Raw]:
    """A server's opening for a client that has no such extensions."""
    capabilities = declared(opening)
    extensions = opened(capabilities.get("extensions"))
    if extensions.pop(TASKS_EXTENSION, None) is None:
        return dict(opening)
    if extensions:
        capabilities["extensions"] = jsonrpc.assemble(extensions)
    else:
        del capabilities["extensions"]
    return {**opening, "capabilities": jsonrpc.assemble(capabilities)}


def opening_for(version: str, dialect: Dialect, opening: Raw) -> Raw:
    """
    A server's opening answer in neutral form, for a client that may speak otherwise of tasks.

    @param version: the revision that the client speaks, and its C{dialect}.
    """
    found = jsonrpc.members(opening)
    offered = dialect_of_server(found)
    if version >= STATELESS:
        return jsonrpc.assemble(with_extension(found)) if offered is Dialect.SESSION else opening
    if offered is not Dialect.EXTENSION:
        return opening
    return jsonrpc.assemble((with_session_tasks if dialect is Dialect.SESSION else without_extension)(found))


def with_options(result: Raw) -> Raw:
    """The tools of a server that decides by itself what becomes a task, for a client that may ask for it."""

    def convert(tool: Raw) -> Raw:
        return jsonrpc.assemble({**opened(tool), "execution": _OPTIONAL})

    return replaced(result, "tools", lambda tools: mapped(tools, convert))


def flat(task: Mapping[str, Raw]) -> dict[str, Raw]:
    """A task of the session dialect in the words of the extension, without what is told of it beside its state."""
    found = {name: task[name] for name in _SHARED if name in task}
    found["ttlMs"] = _NULL
    for theirs, ours in _RENAMED:
        if theirs in task:
            found[ours] = task[theirs]
    return found


def nested(task: Mapping[str, Raw]) -> dict[str, Raw]:
    """A task of the extension in the words of the session dialect (2025-11-25, Task Status)."""
    found = {name: task[name] for name in _SHARED if name in task}
    found["ttl"] = _NULL
    for ours, theirs in _RENAMED:
        if theirs in task:
            found[ours] = task[theirs]
    error = opened(task.get("error"))
    if "statusMessage" not in found and "message" in error:
        found["statusMessage"] = error["message"]
    if status_of(task) == "completed" and opened(task.get("result")).get("isError") == Raw(b"true"):
        found["status"] = jsonrpc.value("failed")
    return found


def status_of(task: Mapping[str, Raw]) -> str | None:
    """Its status; L{None} if it says none."""
    return jsonrpc.decode_string(task.get("status"))


def id_of(task: Mapping[str, Raw]) -> str | None:
    """Its id; L{None} if it has none that could be used."""
    return jsonrpc.decode_string(task.get("taskId")) or None


def pause(interval: Raw | None) -> float:
    """
    Seconds until the next look at a task.

    @param interval: in milliseconds, as its server wishes.
    """
    try:
        found = jsonrpc.read(interval) if interval is not None else None
    except InvalidMessage:
        return USUAL_PAUSE
    if not isinstance(found, int | float):
        return USUAL_PAUSE
    return min(LONGEST_PAUSE, max(SHORTEST_PAUSE, found / 1000.0))


def naming(task_id: str) -> dict[str, Raw]:
    """The params of a request about a task."""
    return {"taskId": jsonrpc.value(task_id)}


def created(result: Raw) -> dict[str, Raw]:
    """The task in the answer of a call to a server of the session dialect; empty if it did not become one."""
    return opened(opened(result).get("task"))


def is_created(result: Raw) -> bool:
    """Whether a call was answered with a task of the session dialect."""
    return len(memoryview(result)) <= _MAX_CREATED and id_of(created(result)) is not None


#: Bytes of the answer that a call became a task. Results of tools may be much larger.
_MAX_CREATED: Final = 64 * 1024


def with_task(params: Raw | None, ttl: int = TTL) -> Raw:
    """The params of a call that asks a server of the session dialect for a task."""
    return jsonrpc.assemble({**opened(params), "task": jsonrpc.value({"ttl": ttl})})


def without_task(params: Raw | None) -> Raw | None:
    """The params of a call that asks for none."""
    if params is None or b'"task"' not in bytes(params):
        return params
    found = opened(params)
    return params if found.pop("task", None) is None else jsonrpc.assemble(found)


def related(holder: Raw | None, task_id: str) -> Raw:
    """Params, or a result, that say which task they belong to (2025-11-25, Related Task Metadata)."""
    found = opened(holder)
    meta = {**opened(found.get("_meta")), RELATED: jsonrpc.value({"taskId": task_id})}
    return jsonrpc.assemble({**found, "_meta": jsonrpc.assemble(meta)})


def relation_of(holder: Raw | None) -> str | None:
    """Which task they say they belong to."""
    if holder is None or RELATED.encode("ascii") not in bytes(holder):
        return None
    return jsonrpc.decode_string(opened(opened(opened(holder).get("_meta")).get(RELATED)).get("taskId"))


@overload
def unrelated(holder: Raw) -> Raw: ...


@overload
def unrelated(holder: None) -> None: ...


def unrelated(holder: Raw | None) -> Raw | None:
    """The inverse of L{related}."""
    if relation_of(holder) is None:
        return holder
    found = opened(holder)
    meta = opened(found["_meta"])
    del meta[RELATED]
    if meta:
        found["_meta"] = jsonrpc.assemble(meta)
    else:
        del found["_meta"]
    return jsonrpc.assemble(found)


def supports(result: Raw) -> dict[str, str]:
    """
    Which tools of a server of the session dialect may or must become tasks.

    @param result: of C{tools/list}.
    @return: C{required} or C{optional}, by the name of the tool.
    """
    found: dict[str, str] = {}
    if b'"taskSupport"' not in bytes(result):
        return found
    for tool in listed(opened(result).get("tools")):
        members = opened(tool) if b'"taskSupport"' in bytes(tool) else {}
        name = jsonrpc.decode_string(members.get("name"))
        support = jsonrpc.decode_string(opened(members.get("execution")).get("taskSupport"))
        if name is not None and support in ("required", "optional"):
            found[name] = support
    return found


def unknown_task() -> ErrorObject:
    """For a request about no task that there is."""
    return ErrorObject(INVALID_PARAMS, "Invalid params: there is no such task")


def read_error(raw: Raw | None) -> ErrorObject:
    """The error of a task of the extension that failed."""
    found = opened(raw)
    try:
        code = jsonrpc.read(found.get("code", _NULL))
    except InvalidMessage:
        code = None
    message = jsonrpc.decode_string(found.get("message")) or "The task failed"
    return ErrorObject(code if type(code) is int else INTERNAL_ERROR, message, found.get("data"))


def error_members(error: ErrorObject) -> Raw:
    """An error as a member of a task."""
    found = {"code": jsonrpc.value(error.code), "message": jsonrpc.value(error.message)}
    if error.data is not None:
        found["data"] = error.data
    return jsonrpc.assemble(found)


def outcome(task: Mapping[str, Raw]) -> Raw | ErrorObject:
    """
    What the call would have been answered with, had it not become this task, which is over.

    @param task: of the extension.
    """
    status = status_of(task)
    if status == "completed" and is_object(task.get("result", _NULL)):
        found = opened(task["result"])
        found.pop("resultType", None)
        return jsonrpc.assemble(found)
    if status == "failed":
        return read_error(task.get("error"))
    if status == "cancelled":
        message = jsonrpc.decode_string(task.get("statusMessage"))
        return ErrorObject(INVALID_REQUEST, "The server cancelled the task" + (f": {message}" if message else ""))
    return ErrorObject(INTERNAL_ERROR, "The server ended the task without a result")
