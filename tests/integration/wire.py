"""
A stdio client with bare hands: it sends any bytes, keeps every line that comes back, and gives up on a deadline.

No SDK: what the tests of faults need to send, no SDK would send, and what they need to see, an SDK would hide.
"""

import contextlib
import itertools
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.integration.processes import TookTooLong

Message = dict[str, Any]

DEADLINE = 20.0
"""Seconds for an answer that nothing delays: generous, because the machine may be busy."""

REVISION = "2025-11-25"


class StdioClient:
    """
    One client process's worth of pipes: C{with StdioClient(command, environment) as client: ...}.

    @ivar messages: all that came, in order: parsed lines.
    @ivar noise: lines that were no JSON.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, cwd: str | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
        self.messages: list[Message] = []
        self.noise: list[bytes] = []
        self.complaints: list[str] = []
        self.ended = False
        self._changed = threading.Condition()
        self._ids = itertools.count(1)
        self._answers: dict[str, Callable[[Message], Message]] = {}
        self._writing = threading.Lock()
        for work in (self._read, self._read_complaints):
            threading.Thread(target=work, daemon=True).start()

    def __enter__(self) -> "StdioClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None:
            error.add_note(
                f"the client got {self.messages[-5:]!r}, noise {self.noise[-3:]!r}, stderr {self.complaints!r}"
            )
        self.close()

    def close(self) -> None:
        """End the process, whatever state it is in."""
        for pipe in (self.process.stdin,):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # Reading, in threads of its own

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                with self._changed:
                    self.noise.append(line)
                continue
            with self._changed:
                for each in message if isinstance(message, list) else [message]:
                    self.messages.append(each)
                self._changed.notify_all()
            if isinstance(message, dict) and "method" in message and "id" in message:
                self._answer(message)
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.complaints.append(line.decode(errors="replace").rstrip("\n"))

    def _answer(self, question: Message) -> None:
        reply = self._answers.get(question["method"])
        if reply is not None:
            self.send({"jsonrpc": "2.0", "id": question["id"], **reply(question)})

    # Writing

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self.process.stdin is not None
        with self._writing:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def send(self, message: object) -> None:
        """Send a message as one line."""
        self.write(json.dumps(message).encode() + b"\n")

    def notify(self, method: str, params: Message | None = None) -> None:
        """Send a notification."""
        self.send({"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})})

    def post(self, method: str, params: Message | None = None, request_id: object = None) -> Any:
        """
        Send a request and do not wait.

        @return: its id.
        """
        chosen = next(self._ids) if request_id is None else request_id
        self.send({"jsonrpc": "2.0", "id": chosen, "method": method, **({} if params is None else {"params": params})})
        return chosen

    def on(self, method: str, reply: Callable[[Message], Message]) -> None:
        """Answer the server's requests of a method with what C{reply} makes of them: an object with result or error."""
        self._answers[method] = reply

    # Waiting

    def wait_for(
        self, wanted: Callable[[Message], object], within: float = DEADLINE, what: str = "a message"
    ) -> Message:
        """
        The first message that fits, now or within the deadline.

        @raise TookTooLong: none came.
        """
        deadline = time.monotonic() + within
        looked_at = 0
        with self._changed:
            while True:
                for message in self.messages[looked_at:]:
                    if wanted(message):
                        return message
                looked_at = len(self.messages)
                left = deadline - time.monotonic()
                if left <= 0 or self.ended:
                    raise TookTooLong(
                        f"{what}: {'the process closed its stdout' if self.ended else f'not in {within} s'}"
                    )
                self._changed.wait(left)

    def answers(self, request_id: object) -> list[Message]:
        """All answers to a request so far; a second one would be a bug. C{1} is not C{True} is not C{"1"}."""
        with self._changed:
            return [
                message
                for message in self.messages
                if "method" not in message
                and message.get("id") == request_id
                and type(message.get("id")) is type(request_id)
            ]

    def answer(self, request_id: object, within: float = DEADLINE) -> Message:
        """Wait for the answer to a request: the whole message."""
        return self.wait_for(
            lambda message: (
                "method" not in message
                and message.get("id") == request_id
                and type(message.get("id")) is type(request_id)
            ),
            within,
            f"an answer to {request_id!r}",
        )

    def request(self, method: str, params: Message | None = None, within: float = DEADLINE) -> Message:
        """Send a request and wait for its answer: the whole message."""
        return self.answer(self.post(method, params), within)

    def call(self, tool: str, within: float = DEADLINE, **arguments: object) -> Message:
        """Call a tool and wait: the whole answer."""
        return self.request("tools/call", {"name": tool, "arguments": arguments}, within)

    def text(self, tool: str, within: float = DEADLINE, **arguments: object) -> str:
        """Call a tool: the text of its first content block."""
        answer = self.call(tool, within, **arguments)
        assert "result" in answer, answer
        return str(answer["result"]["content"][0]["text"])

    def initialize(
        self, capabilities: Message | None = None, revision: str = REVISION, within: float = DEADLINE
    ) -> Message:
        """The handshake of the session era: the result of C{initialize}."""
        answer = self.request(
            "initialize",
            {
                "protocolVersion": revision,
                "capabilities": capabilities or {},
                "clientInfo": {"name": "wire", "version": "1"},
            },
            within,
        )
        assert "result" in answer, answer
        self.notify("notifications/initialized")
        result: Message = answer["result"]
        return result

    def tools(self) -> list[str]:
        """The names of all tools, over all pages."""
        names: list[str] = []
        cursor: Message | None = None
        while True:
            result = self.request("tools/list", cursor)["result"]
            names += [tool["name"] for tool in result["tools"]]
            if "nextCursor" not in result:
                return names
            cursor = {"cursor": result["nextCursor"]}

    def end(self, number: signal.Signals | None = None, seconds: float = 5.0) -> int:
        """
        End as clients do, by closing stdin or by a signal.

        @return: the exit status.
        """
        if number is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
        else:
            self.process.send_signal(number)
        return self.process.wait(seconds)
