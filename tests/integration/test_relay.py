"""
The relay between a real client and a real daemon, which dies in all the ways there are.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.relay_client import DEADLINE, ROOT, Client, Place, until


def error(request_id: Any, answer: Any) -> tuple[Any, int, str]:
    """Of an answer what matters: its id, its code, its slug."""
    return answer["id"], answer["error"]["code"], answer["error"]["data"]["mcpbridge"]["reason"]


class Case(SynchronousTestCase):
    """With a place of its own."""

    def setUp(self) -> None:
        """An empty place."""
        self.place = Place()
        self.addCleanup(self.place.end)


class AttachedTests(Case):
    """With a daemon that runs."""

    def setUp(self) -> None:
        """A daemon."""
        super().setUp()
        self.daemon = self.place.daemon()

    def test_echo_through_pipes(self) -> None:
        """What a client asks comes back, through pipes."""
        client = self.place.relay()

        self.assertEqual({"jsonrpc": "2.0", "id": 1, "result": {"text": "hello"}}, client.echo(1))

    def test_echo_through_sockets(self) -> None:
        """The same through socket pairs, which Node gives."""
        client = self.place.relay(kind="socket")

        self.assertEqual({"jsonrpc": "2.0", "id": "a", "result": {"text": "hello"}}, client.echo("a"))

    def test_large_both_ways(self) -> None:
        """Ten megabytes come through, there and back."""
        client = self.place.relay()
        text = "y" * 10_000_000
        pid = os.fork()
        if not pid:
            client.ask(1, "echo", text=text)
            os._exit(0)

        answer = client.hear()

        os.waitpid(pid, 0)
        self.assertEqual(text, answer["result"]["text"])

    def test_answers_after_stdin_is_closed(self) -> None:
        """A client that closes its stdin right after its last request gets its answers; then the relay ends."""
        client = self.place.relay()

        client.ask(1, "slow", seconds=0.3)
        client.write(b'{"jsonrpc":"2.0","id":2,"method":"echo"}')
        client.close_stdin()

        self.assertEqual([2, 1], [client.hear()["id"], client.hear()["id"]])
        self.assertEqual((b"", 0), (client.hear_line(), client.status()))

    def test_unknown_server(self) -> None:
        """A daemon that has no such server says so: in one line to humans, and to the client in an error."""
        client = self.place.relay("unknown-one")

        client.ask(1, "server/discover")
        client.ask("two", "initialize")

        text = "unknown-one: no such server"
        answers = [client.hear(), client.hear()]
        self.assertEqual(
            [(1, f"unknown-one: {text}"), ("two", f"unknown-one: {text}")],
            [(answer["id"], answer["error"]["message"]) for answer in answers],
        )
        self.assertEqual((1, f"mcpbridge: {text}\n", b""), (client.status(), client.complaint(), client.hear_line()))

    def test_unknown_server_of_nobody(self) -> None:
        """A client that is gone needs no answer."""
        client = self.place.relay("unknown-one")

        client.close_stdin()

        self.assertEqual((1, b""), (client.status(), client.hear_line()))

    def test_signals(self) -> None:
        """SIGINT and SIGTERM end the relay, without a word and at once, and leave the pipes as they were."""
        for number in (signal.SIGINT, signal.SIGTERM):
            client = self.place.relay()
            client.echo()
            before = time.monotonic()

            client.process.send_signal(number)

            self.assertEqual((0, "", b""), (client.status(), client.complaint(), client.hear_line()))
            self.assertLess(time.monotonic() - before, 2.0)

    def test_blocking_flags_are_restored(self) -> None:
        """Descriptors that the client shares with the relay block again when it has ended."""
        (its_stdin, stdin), (stdout, its_stdout) = os.pipe(), os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "mcpbridge.stdio", "--no-start", "echo"],
            env=self.place.environment,
            cwd=ROOT,
            stdin=its_stdin,
            stdout=its_stdout,
        )
        os.write(stdin, b'{"jsonrpc":"2.0","id":1,"method":"echo"}\n')
        os.read(stdout, 1)

        meanwhile = os.get_blocking(its_stdin), os.get_blocking(its_stdout)
        os.close(stdin)
        process.wait(DEADLINE)

        self.assertEqual((False, False), meanwhile)
        self.assertEqual((True, True), (os.get_blocking(its_stdin), os.get_blocking(its_stdout)))
        for fd in (its_stdin, stdout, its_stdout):
            os.close(fd)

    def test_parent_dies(self) -> None:
        """The relay ends with its parent, though somebody else holds its stdin open."""
        (its_stdin, stdin), (stdout, its_stdout) = os.pipe(), os.pipe()
        script = (
            "import os, subprocess, sys; stdin, stdout = map(int, sys.argv[1:3])"
            "; print(subprocess.Popen(sys.argv[3:], stdin=stdin, stdout=stdout).pid, flush=True)"
            "; os.read(0, 1)"
        )
        relay_command = [sys.executable, "-m", "mcpbridge.stdio", "echo"]
        parent = subprocess.Popen(
            [sys.executable, "-c", script, str(its_stdin), str(its_stdout), *relay_command],
            env=self.place.environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(its_stdin, its_stdout),
        )
        assert parent.stdout is not None and parent.stdin is not None
        relay = int(parent.stdout.readline())
        os.write(stdin, b'{"jsonrpc":"2.0","id":1,"method":"echo"}\n')
        os.read(stdout, 1)

        parent.kill()

        parent.wait(DEADLINE)
        until(lambda: _gone(relay), "the relay is gone")
        parent.stdin.close()
        parent.stdout.close()
        for fd in (its_stdin, stdin, stdout, its_stdout):
            os.close(fd)

    def test_files(self) -> None:
        """Requests from a file, answers into a file."""
        with open(f"{self.place.path}/in", "w") as file:
            file.writelines(json.dumps({"jsonrpc": "2.0", "id": n, "method": "echo"}) + "\n" for n in range(2000))
        with open(f"{self.place.path}/in", "rb") as stdin, open(f"{self.place.path}/out", "wb") as stdout:
            found = subprocess.run(
                [sys.executable, "-m", "mcpbridge.stdio", "echo"],
                env=self.place.environment,
                cwd=ROOT,
                stdin=stdin,
                stdout=stdout,
                timeout=DEADLINE,
            )

        with open(f"{self.place.path}/out") as file:
            ids = [json.loads(line)["id"] for line in file]
        self.assertEqual((0, list(range(2000))), (found.returncode, ids))

    def test_nothing(self) -> None:
        """With /dev/null for stdin there is nothing to do."""
        found = subprocess.run(
            [sys.executable, "-m", "mcpbridge.stdio", "echo"],
            env=self.place.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
        )

        self.assertEqual((0, b"", b""), (found.returncode, found.stdout, found.stderr))

    def test_terminal(self) -> None:
        """At a terminal a human can type requests, and the terminal is never made non-blocking."""
        ours, its = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "mcpbridge.stdio", "echo"],
            env=self.place.environment,
            cwd=ROOT,
            stdin=its,
            stdout=its,
        )
        self.addCleanup(process.wait, DEADLINE)
        self.addCleanup(process.kill)

        os.write(ours, b'{"jsonrpc":"2.0","id":1,"method":"echo","params":{"say":"aye"}}\n')
        heard = b""
        while b'"result":{"say":"aye"}' not in heard:
            heard += os.read(ours, 1000)

        self.assertTrue(os.get_blocking(its))
        os.close(its)
        os.close(ours)

    def test_dead_relay_frees_the_daemon(self) -> None:
        """A relay that is killed leaves nothing behind in the daemon."""
        counts = []
        for _ in range(5):
            client = self.place.relay()
            client.echo()
            counts.append(_descriptors(self.daemon.pid))

            client.process.kill()

            until(lambda: _descriptors(self.daemon.pid) < min(counts), "the daemon has let go of everything")

    def test_garbage(self) -> None:
        """Garbage is answered, and the next request is too."""
        client = self.place.relay()

        client.write(b"\xff\xfe\n\n   \n{]\n[]\n")
        client.ask(7, "echo")

        heard = [client.hear() for _ in range(4)]
        self.assertEqual(
            [(None, -32700), (None, -32700), (None, -32600), (7, None)],
            [(answer["id"], answer.get("error", {}).get("code")) for answer in heard],
        )

    def test_overlong_line(self) -> None:
        """A line of a hundred megabytes costs its sender an error, and the daemon little memory."""
        client = self.place.relay()
        client.echo()
        before = _resident(self.daemon.pid)
        pid = os.fork()
        if not pid:
            client.write(b'{"jsonrpc":"2.0","id":9,"method":"echo","params":{"text":"')
            for _ in range(100):
                client.write(b"z" * 1_000_000)
            client.write(b'"}}\n')
            client.ask(10, "echo")
            os._exit(0)

        first, second = client.hear(), client.hear()

        os.waitpid(pid, 0)
        self.assertEqual((9, -32600, 10), (first["id"], first["error"]["code"], second["id"]))
        self.assertLess(_resident(self.daemon.pid) - before, 64_000_000)

    def test_control(self) -> None:
        """An operator asks at the same door."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.place.socket)
            connection.settimeout(DEADLINE)
            connection.sendall(b"CONTROL/1 status\n")

            answer = connection.makefile("rb").read()

        self.assertEqual({"asked": "status", "clients": 0}, json.loads(answer))

    def test_fifty(self) -> None:
        """Fifty clients at once, each with its own answers."""
        clients = [self.place.relay() for _ in range(50)]

        for number, client in enumerate(clients):
            client.ask(1, "echo", number=number)

        self.assertEqual(list(range(50)), [client.hear()["result"]["number"] for client in clients])

    def test_second_daemon(self) -> None:
        """A second daemon at the same socket refuses to start, and says who is there."""
        found = subprocess.run(
            [sys.executable, "-m", "tests.integration.echo_daemon"],
            env={**self.place.environment, "MCPBRIDGE_READY_FD": "2"},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
        )

        self.assertEqual(1, found.returncode)
        self.assertIn(f"(process {self.daemon.pid})", found.stderr.decode())


class KilledTests(Case):
    """The daemon is killed, and another one takes over."""

    def setUp(self) -> None:
        """A daemon and a client."""
        super().setUp()
        self.daemon = self.place.daemon()

    def replace(self) -> None:
        """Kill the daemon, and start another one."""
        self.kill()
        self.daemon = self.place.daemon()

    def kill(self) -> None:
        """Kill the daemon."""
        self.daemon.kill()
        self.daemon.wait(DEADLINE)

    def test_idle(self) -> None:
        """A client that is idle notices nothing, and what was remembered of it is there."""
        for kind in ("pipe", "socket"):
            client = self.place.relay(kind=kind)
            client.ask(1, "remember", text="who I am")
            client.hear()

            self.replace()
            client.ask(2, "recall")

            self.assertEqual({"text": "who I am"}, client.hear()["result"])

    def test_in_flight(self) -> None:
        """A request in flight gets an error, once; the next one an answer."""
        client = self.place.relay()
        client.ask(1, "never")
        client.ask("two", "never")
        client.echo(3)

        self.replace()

        self.assertEqual((1, -32603, "bridge_restarted"), error(1, client.hear()))
        self.assertEqual(("two", -32603, "bridge_restarted"), error("two", client.hear()))
        self.assertEqual(4, client.echo(4)["id"])
        self.assertTrue(client.silent())

    def test_half_a_line_read(self) -> None:
        """Half a line that the dead daemon had read is not lost."""
        client = self.place.relay()
        client.echo()
        client.write(b'{"jsonrpc":"2.0","id":5,"method":"ec')
        until(lambda: _pipe_is_empty(client), "the daemon has read it")

        self.replace()
        client.write(b'ho"}\n')

        self.assertEqual(5, client.hear()["id"])

    def test_half_a_line_written(self) -> None:
        """A line that was cut does not spoil the next one, and its request gets an error."""
        for kind in ("pipe", "socket"):
            client = self.place.relay(kind=kind)
            client.ask(1, "big", size=5_000_000)
            client.await_bytes()
            time.sleep(0.1)

            self.replace()
            client.ask(2, "echo")

            cut = client.hear_line()
            self.assertTrue(cut.endswith(b" -- cut off: mcpbridge was restarted\n"), cut[-100:])
            self.assertRaises(ValueError, json.loads, cut)
            self.assertEqual((1, -32603, "bridge_restarted"), error(1, client.hear()))
            self.assertEqual(2, client.hear()["id"])

    def test_killed_by_a_request(self) -> None:
        """A request that is the death of the daemon is not tried again."""
        client = self.place.relay()

        client.ask(1, "kill")
        self.daemon.wait(DEADLINE)
        self.daemon = self.place.daemon()

        self.assertEqual((1, -32603, "bridge_restarted"), error(1, client.hear()))
        self.assertEqual(2, client.echo(2)["id"])

    def test_while_writing(self) -> None:
        """Killed again and again under load: every request is answered exactly once."""
        client = self.place.relay()
        asked = 0
        answered: list[bytes] = []
        for _ in range(5):
            end = time.monotonic() + 0.2
            while time.monotonic() < end:
                for _ in range(20):
                    client.ask(asked, "echo")
                    asked += 1
                # As many as a pipe holds: one that writes without ever reading stops everything, anywhere.
                while asked - len(answered) > 200:
                    answered.append(client.hear_line())
            self.replace()
        client.ask("last", "echo")
        while b'"id":"last"' not in (line := client.hear_line()):
            answered.append(line)

        ids = [json.loads(line)["id"] for line in answered if not line.endswith(b"restarted\n")]
        self.assertEqual(list(range(asked)), sorted(ids))
        self.assertTrue(client.silent())

    def test_requests_meanwhile(self) -> None:
        """What a client asks while there is no daemon is answered by the next one."""
        client = self.place.relay()
        client.echo()
        self.kill()

        client.ask(1, "echo")
        time.sleep(0.2)
        self.daemon = self.place.daemon()

        self.assertEqual(1, client.hear()["id"])

    def test_no_daemon_for_long(self) -> None:
        """Without a daemon the relay itself answers, with errors, and hands back when there is one."""
        client = self.place.relay()
        client.ask(1, "never")
        client.echo(2)
        self.kill()

        client.ask(3, "tools/list")

        self.assertEqual((1, -32603, "bridge_restarted"), error(1, client.hear()))
        self.assertEqual((3, -32603, "upstream_unreachable"), error(3, client.hear()))
        self.daemon = self.place.daemon()
        until(lambda: "result" in client.echo(4), "a daemon answers")
        self.assertTrue(client.silent())

    def test_stdin_closed_without_daemon(self) -> None:
        """A client that gives up while there is no daemon gets its errors, and the relay ends."""
        client = self.place.relay()
        client.ask(1, "never")
        client.echo(2)
        self.kill()

        client.close_stdin()

        self.assertEqual((1, -32603, "bridge_restarted"), error(1, client.hear()))
        self.assertEqual((b"", 0), (client.hear_line(), client.status()))

    def test_planned_stop(self) -> None:
        """After a stop on purpose the relay waits for the next daemon, and the client notices nothing."""
        client = self.place.relay()
        client.ask(1, "remember", text="still here")
        client.hear()

        self.daemon.terminate()
        self.daemon.wait(DEADLINE)
        client.ask(2, "recall")
        self.daemon = self.place.daemon()

        self.assertEqual({"text": "still here"}, client.hear()["result"])

    def test_batch_in_flight(self) -> None:
        """Each request of a batch that was in flight gets its error."""
        client = self.place.relay()
        client.write(b'[{"jsonrpc":"2.0","id":1,"method":"never"},{"jsonrpc":"2.0","id":2,"method":"never"}]\n')
        client.echo(3)

        self.replace()

        self.assertEqual([1, 2], [client.hear()["id"], client.hear()["id"]])
        self.assertTrue(client.silent())

    def test_many_daemons(self) -> None:
        """Daemon after daemon, and the client notices nothing."""
        client = self.place.relay()
        client.echo()
        for number in range(5):
            self.replace()

            self.assertEqual(number, client.echo(number)["id"])

    def test_shuttle_survives(self) -> None:
        """A relay that carries bytes by hand survives its daemon too."""
        with open(f"{self.place.path}/out", "wb") as stdout:
            its_stdin, stdin = os.pipe()
            process = subprocess.Popen(
                [sys.executable, "-m", "mcpbridge.stdio", "--no-start", "echo"],
                env=self.place.environment,
                cwd=ROOT,
                stdin=its_stdin,
                stdout=stdout,
            )
        os.close(its_stdin)
        client = Client(self.place, process, stdin, -1)

        def answered() -> list[Any]:
            with open(f"{self.place.path}/out") as file:
                return [json.loads(line)["id"] for line in file if line.endswith("\n")]

        client.ask(1, "echo")
        until(lambda: answered() == [1], "the first answer")

        self.replace()
        client.ask(2, "echo")

        until(lambda: answered() == [1, 2], "the second answer")
        client.close_stdin()
        self.assertEqual(0, process.wait(DEADLINE))


class StartTests(Case):
    """Relays that start the daemon."""

    def test_starts_one(self) -> None:
        """Where there is no daemon, the relay starts one, which is nobody's child and holds nothing of the client's."""
        client = self.place.relay(starts=True, env={"ANTHROPIC_API_KEY": "secret", "LC_ALL": "C.UTF-8"})

        client.ask(1, "pid")
        pid = client.hear()["result"]["pid"]

        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = dict(pair.split(b"=", 1) for pair in file.read().split(b"\0") if pair)
        self.assertNotIn(b"ANTHROPIC_API_KEY", environment)
        self.assertEqual(b"C.UTF-8", environment[b"LC_ALL"])
        self.assertEqual(self.place.path, os.readlink(f"/proc/{pid}/cwd"))
        self.assertEqual(0o600, os.stat(self.place.log).st_mode & 0o777)
        with open(f"/proc/{pid}/stat") as file:
            parent, session = (int(file_part) for file_part in file.read().rsplit(")", 1)[1].split()[1:4:2])
        self.assertNotEqual((client.process.pid, os.getsid(0)), (parent, session))

    def test_twenty_at_once(self) -> None:
        """Twenty relays at once start exactly one daemon, and all are served."""
        clients = [self.place.relay(starts=True) for _ in range(20)]

        for client in clients:
            client.ask(1, "pid")

        self.assertEqual(1, len({client.hear()["result"]["pid"] for client in clients}))
        self.assertEqual(1, self.place.starts())

    def test_stale_socket(self) -> None:
        """After a kill -9 the relays start exactly one daemon, at the socket that was left behind."""
        clients = [self.place.relay(starts=True) for _ in range(8)]
        for client in clients:
            client.echo()
        (pid,) = self.place.daemon_pids()

        os.kill(pid, signal.SIGKILL)
        for client in clients:
            client.ask(2, "pid")

        (found,) = {client.hear()["result"]["pid"] for client in clients}
        self.assertNotEqual(pid, found)
        self.assertEqual(2, self.place.starts())

    def test_no_start(self) -> None:
        """With --no-start there is one line on stderr, and an end."""
        client = self.place.relay()

        complaint = client.complaint()

        self.assertEqual((1, b""), (client.status(), client.hear_line()))
        self.assertEqual(1, complaint.count("\n"))
        self.assertIn("--no-start", complaint)

    def test_broken_daemon(self) -> None:
        """A daemon that cannot start is one line on stderr: its own last words, and where the log is."""
        with open(self.place.python, "w") as file:
            file.write("#!/bin/sh\necho starting >&2\necho out of cheese >&2\nexit 3\n")
        client = self.place.relay(starts=True)

        complaint = client.complaint()

        self.assertEqual((1, b""), (client.status(), client.hear_line()))
        self.assertEqual(
            f"mcpbridge: the daemon ended when it was started (out of cheese); its log is {self.place.log}\n", complaint
        )

    def test_daemon_that_says_why(self) -> None:
        """A daemon that says why it cannot start is quoted."""
        with open(self.place.python, "w") as file:
            file.write("#!/bin/sh\necho mcpServers.github.headers: bad >&$MCPBRIDGE_READY_FD\nexit 1\n")
        client = self.place.relay(starts=True)

        self.assertEqual((1, "mcpbridge: mcpServers.github.headers: bad\n"), (client.status(), client.complaint()))

    def test_signal_while_starting(self) -> None:
        """SIGINT while a daemon is starting ends the relay at once, without a word."""
        with open(self.place.python, "w") as file:
            file.write(f"#!/bin/sh\necho started >>{self.place.path}/starts\nexec sleep 3\n")
        client = self.place.relay(starts=True)
        until(self.place.starts, "a daemon is starting")

        client.process.send_signal(signal.SIGINT)

        self.assertEqual((0, ""), (client.status(5), client.complaint()))

    def test_other_users_directory(self) -> None:
        """A directory that others can enter is refused, with what to do about it."""
        os.mkdir(f"{self.place.path}/run", 0o755)
        client = self.place.relay(starts=True)

        complaint = client.complaint()

        self.assertEqual(1, client.status())
        self.assertIn(f"run: chmod 700 {self.place.path}/run", complaint)


def _gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def _pipe_is_empty(client: Client) -> bool:
    # FIONREAD on the writing end of a pipe says what is unread.
    return not any(fcntl.ioctl(client.stdin, termios.FIONREAD, b"\0\0\0\0"))
