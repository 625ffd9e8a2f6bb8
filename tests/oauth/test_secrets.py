"""
Tests of L{mcpbridge.oauth.secrets}.
"""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.authorization import Secret
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.oauth.programs import MAX_OUTPUT
from mcpbridge.oauth.secrets import Secrets
from tests.oauth.programs import FakePrograms


class SecretsTests(SynchronousTestCase):
    """Wherever they are."""

    def setUp(self) -> None:
        self.reactor = FakePrograms()
        self.secrets = Secrets(self.reactor, {"HOME": "hush"})

    def read(self, secret: Secret) -> Deferred[str]:
        return Deferred.fromCoroutine(self.secrets.read(secret, "oauth.clientSecret"))

    def fails(self, secret: Secret) -> str:
        return str(self.failureResultOf(self.read(secret), ConfigurationError).value)

    def file(self, data: bytes) -> str:
        path: str = self.mktemp()
        with open(path, "wb") as file:
            file.write(data)
        return path

    def test_text(self) -> None:
        """One that is written in the configuration; white space around it is nobody's."""
        self.assertEqual("a secrét", self.successResultOf(self.read(Secret(" a secrét\n"))))
        self.assertNotIn("hush", repr(self.secrets))

    def test_file(self) -> None:
        """It is read anew each time, so that a new one is found."""
        path = self.file(b"first\r\n")
        first = self.successResultOf(self.read(Secret(file=path)))
        with open(path, "w") as file:
            file.write("second")

        self.assertEqual(("first", "second"), (first, self.successResultOf(self.read(Secret(file=path)))))

    def test_home(self) -> None:
        """A file of the user's may be named from the home folder."""
        home = os.path.abspath(self.mktemp())
        os.mkdir(home)
        with open(os.path.join(home, "token"), "w") as file:
            file.write("mine")
        self.patch(os, "environ", {**os.environ, "HOME": home})

        self.assertEqual("mine", self.successResultOf(self.read(Secret(file="~/token"))))

    def test_large_file(self) -> None:
        """A file that is no secret, such as a device without end, is not read to its end."""
        path = self.file(b"x" * (MAX_OUTPUT + 1))

        self.assertEqual(MAX_OUTPUT, len(self.successResultOf(self.read(Secret(file=path)))))

    def test_program(self) -> None:
        """What it prints; it is run anew each time as well."""
        found = []

        for printed in (b"first\n", b"second"):
            waiting = self.read(Secret(command=("pass", "show", "it")))
            self.reactor.program.prints(printed)
            self.reactor.program.ends()
            found.append(self.successResultOf(waiting))

        self.assertEqual(["first", "second"], found)
        self.assertEqual(("env", "--", "pass", "show", "it"), self.reactor.program.command)

    def test_program_fails(self) -> None:
        """What was to be had, and why it was not."""
        waiting = self.read(Secret(command=("pass",)))
        self.reactor.program.complains(b"locked")
        self.reactor.program.ends(2)

        error = self.failureResultOf(waiting, ConfigurationError)

        self.assertEqual("oauth.clientSecret exited with status 2: locked", str(error.value))

    def test_not_to_be_had(self) -> None:
        """The error says of what, and shows nothing of it."""
        self.assertEqual("oauth.clientSecret is empty", self.fails(Secret(" \n")))
        self.assertEqual("oauth.clientSecret is empty", self.fails(Secret(file=self.file(b"\n"))))
        self.assertEqual("oauth.clientSecret is no text", self.fails(Secret(file=self.file(b"hush\xff"))))
        self.assertEqual(
            "oauth.clientSecret: the file /no/such/file cannot be read: No such file or directory",
            self.fails(Secret(file="/no/such/file")),
        )
