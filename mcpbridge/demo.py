"""
The built-in MCP server: C{python -m mcpbridge.demo}, over stdio, with a few honest tools.

Here so that a first start has something to show, and as an example of what a server has to do. Standard library only;
it imports nothing of mcpbridge and is started by its file's name, so it runs wherever a Python runs. It keeps notes
as long as the process lives: a client that comes later still finds them, since the bridge keeps the process.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any, BinaryIO, NoReturn

#: The revisions spoken, newest first. What differs between them, for this server, is in L{Demo._fitting}.
REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
VERSION = "1.0.0"

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
RESOURCE_NOT_FOUND = -32002

#: Bytes of one line, and what may be kept: a server without bounds is a leak.
MAX_LINE = 16 * 1024 * 1024
MAX_NOTES = 1000
MAX_NOTE = 64 * 1024

NOTES_URI = "demo://notes"

_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def _tool(
    name: str, title: str, description: str, takes: dict[str, Any], gives: dict[str, Any], **hints: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": takes,
        "outputSchema": gives,
        "annotations": {"openWorldHint": False, **hints},
    }


TOOLS = [
    _tool(
        "echo",
        "Echo",
        "Says the text again.",
        _object({"text": {**_TEXT, "description": "What to say"}}),
        _object({"text": _TEXT}),
        readOnlyHint=True,
    ),
    _tool(
        "add",
        "Add",
        "Adds two numbers. Whole numbers are exact, however large.",
        _object({"a": _NUMBER, "b": _NUMBER}),
        _object({"sum": _NUMBER}),
        readOnlyHint=True,
    ),
    _tool(
        "clock",
        "Clock",
        "Tells the date and time now.",
        _object({}, {"utc_offset": {**_TEXT, "description": "Hours and minutes, as +02:00; UTC unless given"}}),
        _object({"time": _TEXT}),
        readOnlyHint=True,
    ),
    _tool(
        "remember",
        "Remember",
        "Keeps a note as long as this server runs. A note of the same name is replaced.",
        _object({"name": _TEXT, "text": _TEXT}),
        _object({"notes": {"type": "integer"}}),
        readOnlyHint=False,
        destructiveHint=True,
        idempotentHint=True,
    ),
    _tool(
        "recall",
        "Recall",
        "Gives a note back; without a name, the names of all notes.",
        _object({}, {"name": _TEXT}),
        _object({}, {"text": _TEXT, "names": {"type": "array", "items": _TEXT}}),
        readOnlyHint=True,
    ),
]
RESOURCES = [
    {
        "uri": NOTES_URI,
        "name": "notes",
        "title": "Notes",
        "description": "All notes that were remembered, as JSON.",
        "mimeType": "application/json",
    }
]
PROMPTS = [
    {
        "name": "summarize_notes",
        "title": "Summarize the notes",
        "description": "Asks for a summary of everything that was remembered.",
        "arguments": [{"name": "language", "description": "Of the summary; English unless given", "required": False}],
    }
]


class Refused(Exception):
    """A request gets an error in place of a result."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message} | ({} if data is None else {"data": data})


class ToolFailed(Exception):
    """A tool could not do what it was asked; the text is for the model."""


class Demo:
    """
    The server's side of one conversation: a line in, lines out.

    @ivar revision: the one agreed on; L{None} until a client has said hello.
    """

    def __init__(self) -> None:
        self.revision: str | None = None
        self._notes: dict[str, str] = {}
        self._subscribed = False

    def receive(self, line: bytes) -> list[bytes]:
        """
        Take one line.

        @return: the lines to write, each without its newline.
        """
        try:
            message = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return [_line(_failure(None, PARSE_ERROR, "this line is not JSON"))]
        if isinstance(message, list):
            return self._batch(message)
        return [_line(answer) for answer in self._message(message)]

    def _batch(self, messages: list[Any]) -> list[bytes]:
        # 2025-03-26, Basic, Batching; no other revision has it.
        if self.revision != "2025-03-26" or not messages:
            return [_line(_failure(None, INVALID_REQUEST, "batches are not part of this revision"))]
        answers = [answer for message in messages for answer in self._message(message)]
        notices = [answer for answer in answers if "method" in answer]
        results = [answer for answer in answers if "method" not in answer]
        return [_line(notice) for notice in notices] + ([_line(results)] if results else [])

    def _message(self, message: Any) -> list[dict[str, Any]]:
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return [_failure(_id_of(message), INVALID_REQUEST, "this is no JSON-RPC 2.0 message")]
        method, params = message.get("method"), message.get("params", {})
        if method is None and ("result" in message or "error" in message):
            return []  # This server asks nothing, so it is nobody's answer.
        if not isinstance(method, str):
            return [_failure(_id_of(message), INVALID_REQUEST, "there is no method")]
        if "id" not in message:
            return []  # No notification changes anything here.
        if _id_of(message) is None:
            return [_failure(None, INVALID_REQUEST, "an id is a string or a whole number")]
        try:
            if not isinstance(params, dict):
                raise Refused(INVALID_PARAMS, "params must be an object")
            result = self._call(method, params)
        except Refused as refusal:
            return [{"jsonrpc": "2.0", "id": message["id"], "error": refusal.error}]
        return [{"jsonrpc": "2.0", "id": message["id"], "result": result}, *self._notices(method, params)]

    def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            return self._initialize(params)
        if method == "ping":
            return {}
        answer = {
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
            "resources/list": lambda _: {"resources": self._fitting(RESOURCES)},
            "resources/templates/list": lambda _: {"resourceTemplates": []},
            "resources/read": self._read_resource,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
            "prompts/list": lambda _: {"prompts": self._fitting(PROMPTS)},
            "prompts/get": self._get_prompt,
        }.get(method)
        if answer is None:
            raise Refused(METHOD_NOT_FOUND, f"there is no method {method[:100]}")
        if self.revision is None:
            raise Refused(INVALID_REQUEST, "not initialized: send initialize first")
        return answer(params)

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = params.get("protocolVersion")
        if not isinstance(asked, str):
            raise Refused(INVALID_PARAMS, "protocolVersion must be a string")
        self.revision = asked if asked in REVISIONS else REVISIONS[0]
        self._subscribed = False
        return {
            "protocolVersion": self.revision,
            # Nothing here ever changes its list, so listChanged is not claimed.
            "capabilities": {"tools": {}, "resources": {"subscribe": True}, "prompts": {}},
            "serverInfo": self._fitting([{"name": "mcpbridge-demo", "title": "mcpbridge demo", "version": VERSION}])[0],
            "instructions": "A small server that shows that everything works. Notes last as long as it runs.",
        }

    def _list_tools(self, _params: dict[str, Any]) -> dict[str, Any]:
        return {"tools": self._fitting(TOOLS)}

    def _fitting(self, things: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Without the members that the revision agreed on does not have."""
        absent: set[str] = set()
        if self.revision in ("2025-03-26", "2024-11-05"):
            absent |= {"title", "outputSchema"}
        if self.revision == "2024-11-05":
            absent |= {"annotations"}
        return [{name: value for name, value in thing.items() if name not in absent} for thing in things]

    def _call_tool(self, params: dict[str, Any]) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments", {})
        tool = {
            "echo": _echo,
            "add": _add,
            "clock": _clock,
            "remember": self._remember,
            "recall": self._recall,
        }.get(name if isinstance(name, str) else "")
        if tool is None:
            raise Refused(INVALID_PARAMS, f"Unknown tool: {str(name)[:100]}")
        if not isinstance(arguments, dict):
            raise Refused(INVALID_PARAMS, "arguments must be an object")
        try:
            text, structured = tool(arguments)
        except ToolFailed as failure:
            return {"content": [{"type": "text", "text": str(failure)}], "isError": True}
        result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": False}
        if self.revision not in ("2025-03-26", "2024-11-05"):
            result["structuredContent"] = structured
        return result

    def _remember(self, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        name, text = _text(arguments, "name"), _text(arguments, "text")
        if len(name) > 200 or len(text) > MAX_NOTE:
            raise ToolFailed(f"a name has at most 200 characters, a note {MAX_NOTE}")
        if name not in self._notes and len(self._notes) >= MAX_NOTES:
            raise ToolFailed(f"there are {MAX_NOTES} notes already; replace one")
        self._notes[name] = text
        count = len(self._notes)
        return f"Remembered; {count} note{'' if count == 1 else 's'} now.", {"notes": count}

    def _recall(self, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if "name" not in arguments:
            return ", ".join(self._notes) or "There are no notes.", {"names": list(self._notes)}
        name = _text(arguments, "name")
        if name not in self._notes:
            raise ToolFailed(f"there is no note {name[:200]}")
        return self._notes[name], {"text": self._notes[name]}

    def _read_resource(self, params: dict[str, Any]) -> dict[str, Any]:
        uri = self._resource(params)
        text = json.dumps(self._notes, indent=2)
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": text}]}

    def _subscribe(self, params: dict[str, Any]) -> dict[str, Any]:
        self._resource(params)
        self._subscribed = True
        return {}

    def _unsubscribe(self, params: dict[str, Any]) -> dict[str, Any]:
        self._resource(params)
        self._subscribed = False
        return {}

    def _resource(self, params: dict[str, Any]) -> str:
        uri = params.get("uri")
        if not isinstance(uri, str):
            raise Refused(INVALID_PARAMS, "uri must be a string")
        if uri != NOTES_URI:
            raise Refused(RESOURCE_NOT_FOUND, "Resource not found", {"uri": uri})
        return uri

    def _notices(self, method: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        if method == "tools/call" and params.get("name") == "remember" and self._subscribed:
            return [{"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": NOTES_URI}}]
        return []

    def _get_prompt(self, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("name") != PROMPTS[0]["name"]:
            raise Refused(INVALID_PARAMS, f"Unknown prompt: {str(params.get('name'))[:100]}")
        arguments = params.get("arguments", {})
        language = arguments.get("language", "English") if isinstance(arguments, dict) else None
        if not isinstance(language, str):
            raise Refused(INVALID_PARAMS, "language must be a string")
        text = f"Summarize these notes in {language}:\n\n{json.dumps(self._notes, indent=2)}"
        return {
            "description": str(PROMPTS[0]["description"]),
            "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
        }


def _echo(arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    text = _text(arguments, "text")
    return text, {"text": text}


def _add(arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    values = []
    for name in ("a", "b"):
        value = arguments.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ToolFailed(f"{name} must be a number")
        values.append(value)
    try:
        total = values[0] + values[1]
        text = json.dumps(total, allow_nan=False)
    except (OverflowError, ValueError):
        raise ToolFailed("the sum is too large") from None
    return text, {"sum": total}


def _clock(arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    offset = _text(arguments, "utc_offset") if "utc_offset" in arguments else "+00:00"
    hours, colon, minutes = offset[1:].partition(":")
    digits = (hours + minutes).isascii() and (hours + minutes).isdigit() and len(hours) == len(minutes) == 2
    if offset[:1] not in ("+", "-") or not colon or not digits or int(hours) > 14 or int(minutes) > 59:
        raise ToolFailed("utc_offset must look like +02:00")
    seconds = (int(hours) * 60 + int(minutes)) * 60 * (-1 if offset[0] == "-" else 1)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + seconds)) + offset
    return text, {"time": text}


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise ToolFailed(f"{name} must be a string")
    return value


def _id_of(message: Any) -> str | int | None:
    identity = message.get("id") if isinstance(message, dict) else None
    return identity if isinstance(identity, (str, int)) and not isinstance(identity, bool) else None


def _failure(identity: str | int | None, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}


def _line(message: Any) -> bytes:
    # ASCII, so that half of a surrogate pair, which JSON allows, leaves as it came.
    return json.dumps(message, separators=(",", ":")).encode("ascii")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Serve one client until it closes its end, or no longer reads."""
    demo = Demo()
    while line := source.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            answers = [_line(_failure(None, INVALID_REQUEST, f"a line has at most {MAX_LINE} bytes"))]
            while line and not line.endswith(b"\n"):
                line = source.readline(MAX_LINE)
        elif line.isspace():
            continue
        else:
            answers = demo.receive(line)
        try:
            sink.write(b"".join(answer + b"\n" for answer in answers))
            sink.flush()
        except BrokenPipeError:
            return


def main() -> None:
    """Serve on stdin and stdout. Signals end it without a word, as a client expects."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
