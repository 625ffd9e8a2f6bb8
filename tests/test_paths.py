"""Tests for L{mcpbridge.paths}."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge import paths


class PathsTests(SynchronousTestCase):
    """Where things are."""

    def setUp(self) -> None:
        """A directory of the user's own."""
        self.base = tempfile.mkdtemp(prefix="relay-")
        self.addCleanup(shutil.rmtree, self.base)
        self.uid = os.getuid()
        self.theirs: set[str] = set()
        self.patch(paths, "_is_ours", lambda directory, uid: directory not in self.theirs and os.path.isdir(directory))

    def test_given(self) -> None:
        """What the user says counts, and is made absolute."""
        environment = {
            "MCPBRIDGE_SOCKET": "run/x.sock",
            "MCPBRIDGE_CONFIG": "/etc/x.json",
            "MCPBRIDGE_STATE_DIR": "state",
            "XDG_RUNTIME_DIR": self.base,
        }

        self.assertEqual(
            (f"{os.getcwd()}/run/x.sock", "/etc/x.json", f"{os.getcwd()}/state"),
            (
                paths.socket_path(environment),
                paths.configuration_path(environment),
                paths.state_directory(environment),
            ),
        )

    def test_socket_in_runtime_directory(self) -> None:
        """The socket is in the user's runtime directory."""
        self.assertEqual(
            f"{self.base}/mcpbridge/mcpbridge.sock", paths.socket_path({"XDG_RUNTIME_DIR": self.base, "TMPDIR": "/x"})
        )

    def test_socket_without_the_variable(self) -> None:
        """Agents that drop the variable find the same socket, where the directory is where it usually is."""
        usual = f"/run/user/{self.uid}"
        self.patch(paths, "_is_ours", lambda directory, uid: directory == usual)

        self.assertEqual(
            [f"{usual}/mcpbridge/mcpbridge.sock"] * 2,
            [paths.socket_path({}), paths.socket_path({"XDG_RUNTIME_DIR": usual})],
        )

    def test_socket_elsewhere(self) -> None:
        """Without a runtime directory that is ours and short enough, there is one for each user."""
        self.theirs = {f"/run/user/{self.uid}", self.base}
        long = f"{self.base}/{'x' * 90}"
        os.mkdir(long)

        found = {
            paths.socket_path({"XDG_RUNTIME_DIR": directory})
            for directory in ("", "relative", "/nonesuch", self.base, long)
        }

        self.assertEqual({f"/tmp/mcpbridge-{self.uid}/mcpbridge.sock"}, found)

    def test_xdg(self) -> None:
        """Configuration and state are where the XDG variables point; relative ones count for nothing."""
        environments = [
            {"HOME": "/home/me"},
            {"HOME": "/home/me", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"},
            {"HOME": "/home/me", "XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": "s"},
        ]

        found = [
            (paths.configuration_path(environment), paths.state_directory(environment)) for environment in environments
        ]

        usual = ("/home/me/.config/mcpbridge/config.json", "/home/me/.local/state/mcpbridge")
        self.assertEqual([usual, ("/c/mcpbridge/config.json", "/s/mcpbridge"), usual], found)

    def test_home(self) -> None:
        """Whoever has no home in the environment has the one that the system knows."""
        self.assertEqual(["/home/me", True], [paths.home({"HOME": "/home/me"}), paths.home({}).startswith("/")])


class SecureDirectoryTests(SynchronousTestCase):
    """The directory of the socket. More is tested where daemons listen."""

    def setUp(self) -> None:
        """A directory of the user's own."""
        self.base = tempfile.mkdtemp(prefix="relay-")
        self.addCleanup(shutil.rmtree, self.base)

    def test_made(self) -> None:
        """It is made with all that is above it, and found to be good again."""
        found = [paths.secure_directory(f"{self.base}/a/b"), paths.secure_directory(f"{self.base}/a/b")]

        self.assertEqual((["", ""], 0o40700), (found, os.stat(f"{self.base}/a/b").st_mode))

    def test_made_by_others_meanwhile(self) -> None:
        """When somebody is quicker, what they made is judged."""
        make = os.mkdir

        def quicker(path: str, mode: int) -> None:
            make(path, 0o755)
            make(path, mode)

        self.patch(os, "mkdir", quicker)

        self.assertIn("is open to other users", paths.secure_directory(f"{self.base}/b"))

    def test_cannot_be_made(self) -> None:
        """Where it cannot be made, that is said."""
        open(f"{self.base}/file", "w").close()

        self.assertEqual(
            f"{self.base}/file/run, where the socket is to be: File exists; set MCPBRIDGE_SOCKET to another path",
            paths.secure_directory(f"{self.base}/file/run"),
        )
