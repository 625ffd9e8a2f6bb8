"""
Tests for L{mcpbridge.upstream.command}.
"""

from __future__ import annotations

import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.upstream.command import Command, Launcher, cannot_start, locate


class CommandTests(SynchronousTestCase):
    """What the user wrote."""

    def test_shows_no_secrets(self) -> None:
        """Arguments and environment may hold keys, and do not show."""
        shown = repr(Command(("server", "--key=secret"), {"TOKEN": "secret"}, "/"))

        self.assertNotIn("secret", shown)


class LocateTests(SynchronousTestCase):
    """Finding the program."""

    def setUp(self) -> None:
        """A folder with a program, a text and a folder."""
        self.root = os.path.realpath(self.mktemp())
        os.makedirs(os.path.join(self.root, "bin", "folder"))
        self.program = self.make("program", 0o755)
        self.text = self.make("text", 0o644)
        self.bin = os.path.dirname(self.program)

    def make(self, name: str, mode: int) -> str:
        """A file."""
        path = os.path.join(self.root, "bin", name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n")
        os.chmod(path, mode)
        return path

    def refused(self, command: Command, path: str = "/nonexistent") -> str:
        """Why it cannot be found."""
        with self.assertRaises(UpstreamUnavailable) as caught:
            locate(command, {"PATH": path})
        self.assertEqual(Fate.FAILED, caught.exception.loss.fate)
        return str(caught.exception).removeprefix("cannot start the server: ")

    def test_by_path(self) -> None:
        """A name is looked for in the folders of PATH, in order, past what is no program."""
        other = os.path.join(self.root, "other")
        os.mkdir(other)
        paths = [f"/nonexistent:{self.bin}", f"{other}:{self.bin}"]

        found = [locate(Command(("program",)), {"PATH": path}) for path in paths]

        self.assertEqual([self.program, self.program], found)

    def test_by_relative_path(self) -> None:
        """Relative folders, and the empty one, start where the child does."""
        found = [locate(Command(("program",), cwd=self.root), {"PATH": "bin"})]
        found.append(locate(Command(("program",), cwd=self.bin), {"PATH": "/nonexistent:"}))

        self.assertEqual([self.program, self.program], [os.path.normpath(path) for path in found])

    def test_without_path(self) -> None:
        """Without PATH the system's is taken."""
        self.assertIn(os.path.dirname(locate(Command(("sh",)), {})), os.defpath.split(":"))

    def test_by_name_with_slash(self) -> None:
        """A path is taken as it is, from where the child starts."""
        found = [locate(Command((self.program,)), {}), locate(Command(("./program",), cwd=self.bin), {})]

        self.assertEqual([self.program, self.program], [os.path.normpath(path) for path in found])

    def test_not_found(self) -> None:
        """It says where it was searched, and what to do."""
        self.assertEqual(
            'the command "nothing" was not found (searched /nonexistent); '
            "install it, write its full path, or set PATH in the server's env",
            self.refused(Command(("nothing",))),
        )

    def test_not_executable(self) -> None:
        """What is found but cannot be run is told apart."""
        hint = "run chmod +x on it"

        self.assertEqual(
            [f'"text" was found but is not executable; {hint}', f'"{self.text}" is not executable; {hint}'],
            [self.refused(Command(("text",)), self.bin), self.refused(Command((self.text,)))],
        )

    def test_no_program(self) -> None:
        """Folders, missing files and empty names."""
        folder = os.path.join(self.bin, "folder")

        self.assertEqual(
            [
                f'"{folder}" is a folder; "command" names a program',
                'the program "/nonexistent/server" does not exist',
                'the program "~/server" does not exist; no shell expands the ~, write ${HOME}',
                'no command is configured; set "command" to the server\'s program',
                'no command is configured; set "command" to the server\'s program',
            ],
            [self.refused(Command(argv)) for argv in ((folder,), ("/nonexistent/server",), ("~/server",), (), ("",))],
        )

    def test_no_folder(self) -> None:
        """The folder is looked at first."""
        self.assertEqual(
            [
                'its working directory "/nonexistent" does not exist',
                'its working directory "~/x" does not exist; no shell expands the ~, write ${HOME}',
                f'its working directory "{self.text}" does not exist',
            ],
            [self.refused(Command(("sh",), cwd=cwd)) for cwd in ("/nonexistent", "~/x", self.text)],
        )

    def test_names_are_made_harmless(self) -> None:
        """A name from a configuration may be anything."""
        self.assertIn('"a\\x1b\\n"', self.refused(Command(("a\x1b\n",))))

    def test_own_folder_is_gone(self) -> None:
        """Somebody may have removed the folder that we are in."""
        here = os.getcwd()
        gone = os.path.join(self.root, "gone")
        os.mkdir(gone)
        os.chdir(gone)
        self.addCleanup(os.chdir, here)
        os.rmdir(gone)

        self.assertEqual(self.program, locate(Command(("program",)), {"PATH": self.bin}))


class CannotStartTests(SynchronousTestCase):
    """How it is told."""

    def test_loss(self) -> None:
        """To try again is of no use, unless it is said to be."""
        told = [cannot_start("why").loss, cannot_start("why", Fate.NEVER_SENT).loss]

        text = "cannot start the server: why"
        self.assertEqual(
            [Loss(fate, Reason.UPSTREAM_UNREACHABLE, text) for fate in (Fate.FAILED, Fate.NEVER_SENT)], told
        )


class LauncherTests(SynchronousTestCase):
    """A session of its own, and a folder."""

    def test_programs(self) -> None:
        """Where both programs are they do it."""
        launcher = Launcher("/bin/setsid", "/bin/env")

        self.assertEqual(
            [
                ("/bin/setsid", "/x/server", "-a"),
                ("/bin/env", "--chdir=-x", "/bin/setsid", "/x/server", "-a"),
            ],
            [launcher.arguments("/x/server", Command(("server", "-a"), cwd=cwd)) for cwd in (None, "-x")],
        )

    def test_python(self) -> None:
        """Where the one that is needed is missing our interpreter does."""
        cases = [(None, "/bin/env", None), (None, None, "/y"), ("/bin/setsid", None, "/y")]

        found = [
            Launcher(setsid, env, "/py").arguments("/x/server", Command(("server", "-a"), cwd=cwd))
            for setsid, env, cwd in cases
        ]

        self.assertEqual(
            [("/py", "-I", "-S", "-c", folder, "/x/server", "-a") for folder in ("", "/y", "/y")],
            [(*arguments[:4], *arguments[5:]) for arguments in found],
        )

    def test_setsid_is_enough(self) -> None:
        """Without a folder there is no need for the other."""
        self.assertEqual(("/s", "/x"), Launcher("/s", None).arguments("/x", Command(("x",))))

    def make(self, folder: str, name: str, text: bytes) -> str:
        """A program of that name."""
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    def test_find(self) -> None:
        """An env that does not know the option is of no use."""
        folders = [self.mktemp() for _ in range(4)]
        for folder in folders:
            os.mkdir(folder)
        setsid = self.make(folders[0], "setsid", b"")
        env = self.make(folders[0], "env", b"\0  -C, --chdir=DIR\0")
        self.make(folders[1], "env", b"\0-i -u\0")
        busybox = self.make(folders[2], "busybox", b"--chdir=")
        os.symlink(os.path.abspath(busybox), os.path.join(folders[2], "env"))

        found = [Launcher.find(folder) for folder in folders]

        self.assertEqual(
            [Launcher(setsid, env), Launcher(None, None), Launcher(None, None), Launcher(None, None, sys.executable)],
            found,
        )
