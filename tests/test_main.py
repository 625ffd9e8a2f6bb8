"""Tests of L{mcpbridge.__main__}."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.__main__ import main
from mcpbridge.version import VERSION


class MainTests(SynchronousTestCase):
    """L{main}."""

    def setUp(self) -> None:
        home = os.path.abspath(self.mktemp())
        for name in [name for name in os.environ if name.startswith(("MCPBRIDGE_", "XDG_"))]:
            self.patch(os, "environ", {key: value for key, value in os.environ.items() if key != name})
        self.patch(os, "environ", {**os.environ, "HOME": home, "MCPBRIDGE_SOCKET": os.path.join(home, "s")})

    def run_main(self, *arguments: str) -> tuple[int | str | None, str, str]:
        """@return: the exit status and what was printed."""
        out, err = StringIO(), StringIO()
        status: int | str | None
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(arguments)
            except SystemExit as end:
                status = end.code
        return status, out.getvalue(), err.getvalue()

    def test_check(self) -> None:
        """Options count more than the environment."""
        os.environ["MCPBRIDGE_SERVERS"] = '{"a": {"command": "x"}}'

        self.assertEqual(
            (0, "1 server from MCPBRIDGE_SERVERS\n  b  stdio  y  persistent\n", ""),
            self.run_main("check", "--servers", '{"b": {"command": "y"}}'),
        )

    def test_check_fails(self) -> None:
        """A file that was named has to be there."""
        self.assertEqual(
            (1, "", "error: /nowhere/x.json: there is no such file\n"),
            self.run_main("check", "--config", "/nowhere/x.json"),
        )

    def test_nobody_listens(self) -> None:
        """Each order to a daemon that is not there says so."""
        for verb in ("status", "reload", "stop"):
            status, out, err = self.run_main(verb)

            self.assertEqual((3, ""), (status, out))
            self.assertTrue(err.startswith("mcpbridge: no daemon is running"))

    def test_usage(self) -> None:
        """What is not there is wrong usage; help and version are on stdout."""
        self.assertEqual([2, 2, 2], [self.run_main(*words)[0] for words in ((), ("nonsense",), ("check", "--nope"))])
        self.assertEqual((0, f"mcpbridge {VERSION}\n", ""), self.run_main("--version"))
        self.assertIn("reload", self.run_main("--help")[1])

    def test_light(self) -> None:
        """No command but C{serve} needs Twisted."""
        code = (
            "import sys; from mcpbridge.__main__ import main\n"
            "for verb in ('check', 'status'): main([verb])\n"
            "sys.exit(any(name.partition('.')[0] in ('twisted', 'treq', 'asyncio') for name in sys.modules))"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=dict(os.environ), cwd=_ROOT)

        self.assertEqual(0, done.returncode, done.stderr)


_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
