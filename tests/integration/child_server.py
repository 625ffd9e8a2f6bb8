"""
A script: a stdio server with state and bad habits, standard library only.

Run as C{child_server.py [HABIT ...]}: C{noise} prints lines that are no protocol, C{stubborn} ignores the end of stdin
and SIGTERM, C{grandchild} keeps a process of its own, C{dies} exits at once, C{ledger=FILE} writes the keys of calls to
a file.
"""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

_TOOLS = ["pid", "keep", "kept", "slow", "crash", "garbage", "huge", "echo", "environment", "complain", "silence"]


def say(message: object) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def run(name: str, given: dict[str, Any], kept: dict[str, str], ledger: str | None) -> str | None:
    """Run a tool: its text, or L{None} for no answer at all."""
    if ledger is not None and "key" in given:
        with open(ledger, "a", encoding="utf-8") as file:
            file.write(given["key"] + "\n")
    match name:
        case "pid":
            return str(os.getpid())
        case "keep":
            kept[given["name"]] = given["value"]
        case "kept":
            return kept.get(given["name"], "nothing")
        case "slow":
            time.sleep(given["seconds"])
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "garbage":
            sys.stdout.buffer.write(
                b'\xff\xfe\x00garbage {"jsonrpc": \n{"jsonrpc":"2.0","id":424242,"result":{}}\n[[[[\n'
            )
            sys.stdout.flush()
        case "huge":
            for _ in range(100):
                sys.stdout.write("x" * 2**20)
            sys.stdout.write("\n")
            sys.stdout.flush()
        case "complain":
            sys.stderr.write("\x1b[31mcomplaint\x1b[0m\n" * given.get("times", 1))
            sys.stderr.flush()
        case "environment":
            return json.dumps(dict(os.environ))
        case "echo":
            return str(given.get("text"))
        case "silence":
            return None
    return "done"


def answer(message: dict[str, Any], kept: dict[str, str], ledger: str | None) -> None:
    """Answer a request."""
    params = message.get("params") or {}
    match message["method"]:
        case "initialize":
            result: dict[str, Any] = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "child", "version": "1"},
            }
        case "ping":
            result = {}
        case "tools/list":
            result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in _TOOLS]}
        case "tools/call":
            text = run(params["name"], params.get("arguments") or {}, kept, ledger)
            if text is None:
                return
            result = {"content": [{"type": "text", "text": text}]}
        case method:
            say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": f"no {method}"}})
            return
    say({"jsonrpc": "2.0", "id": message["id"], "result": result})


def main(habits: list[str]) -> None:
    """Serve until stdin ends."""
    ledger = next((habit.partition("=")[2] for habit in habits if habit.startswith("ledger=")), None)
    if "dies" in habits:
        sys.exit("no licence")
    if "stubborn" in habits:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "grandchild" in habits:
        subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    kept: dict[str, str] = {}
    for line in sys.stdin:
        if "noise" in habits:
            sys.stdout.write("Listening on nothing...\n\n")
        message = json.loads(line)
        if "id" in message and "method" in message:
            answer(message, kept, ledger)
    while "stubborn" in habits:
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1:])
