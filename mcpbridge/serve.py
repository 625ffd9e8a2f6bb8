"""
The daemon in the foreground, without twistd's command line: how a relay starts it, and how a container may.

The same service in the same application runner; no plugin is looked for, no pid file is written, and the settings
come from the environment alone. An orderly stop is exit status 0.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from twisted.application import app
from twisted.application.service import Application, IService
from twisted.python import usage

from mcpbridge.tap import Options, makeService, tell_whoever_waits

#: What twistd -n would have parsed; the keys that the runner looks at.
_TWISTD: Mapping[str, Any] = {"nodaemon": True, "profile": None, "debug": False, "no_save": True}


def serve(environment: Mapping[str, str]) -> int:
    """
    Serve until a signal.

    @return: the exit status.
    """
    options = Options(environment)
    options.parent = usage.Options()
    options.parent.update(_TWISTD)
    try:
        options.parseOptions([])
    except usage.UsageError as error:
        sys.stderr.write(f"mcpbridge: {error}\n")
        tell_whoever_waits(str(error))
        return 1
    Foreground(options).run()
    return 0


class Foreground(app.ApplicationRunner):
    """Runs one application and writes nothing but its log."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.parent)
        self._options = options

    def preApplication(self) -> None:
        """Called before there is an application."""

    def createOrGetApplication(self) -> Any:
        """Make the application."""
        application = Application("mcpbridge")
        makeService(self._options).setServiceParent(application)
        return application

    def postApplication(self) -> None:
        """Called when the log has begun."""
        stdout, stderr = sys.stdout, sys.stderr
        IService(self.application).privilegedStartService()
        app.startApplication(self.application, False)
        self.startReactor(None, stdout, stderr)
