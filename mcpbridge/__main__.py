"""
The operator's commands: C{python -m mcpbridge serve}, C{check}, C{status}, C{reload}, C{stop}, C{login}, C{logout}.

C{check} touches no network; the ones after it ask the daemon over its socket; none but the first needs Twisted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mcpbridge.version import VERSION

#: Exit statuses, after sysexits and the Linux Standard Base: a script can tell them apart.
OK, FAILED, USAGE, NOT_RUNNING = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    @return: the exit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon is running.
    """
    options = _parser().parse_args(arguments)
    environment = dict(os.environ)
    for name in ("config", "servers", "socket"):
        value = getattr(options, name, None)
        if value:
            environment[f"MCPBRIDGE_{name.upper()}"] = value
    try:
        status: int = options.run(environment, options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read is satisfied; Python must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mcpbridge",
        description="One daemon that owns all MCP connections, and a relay that starts in no time.",
        epilog="Clients run: python -m mcpbridge.stdio NAME",
    )
    parser.add_argument("--version", action="version", version=f"mcpbridge {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="be the daemon, in the foreground")
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", help="read the configuration and say what is in it, or what is wrong")
    check.add_argument("--config", metavar="FILE", help="the file (MCPBRIDGE_CONFIG)")
    check.add_argument("--servers", metavar="JSON", help="the mcpServers object itself (MCPBRIDGE_SERVERS)")
    check.set_defaults(run=_check)

    for verb, text, run in (
        ("status", "what the daemon is doing", _status),
        ("reload", "have the daemon read its configuration again", _order),
        ("stop", "have the daemon answer what is under way, and end", _order),
    ):
        command = commands.add_parser(verb, help=text)
        command.add_argument("--socket", metavar="PATH", help="the daemon's socket (MCPBRIDGE_SOCKET)")
        command.add_argument("--json", action="store_true", help="print the daemon's answer as it is")
        command.set_defaults(run=run, verb=verb)
    _add_login(commands)
    return parser


def _add_login(commands: Any) -> None:
    login = commands.add_parser("login", help="log in to a server; works without a browser on this machine")
    login.add_argument("server", metavar="NAME", help="a server of the configuration, or a URL")
    steps = login.add_mutually_exclusive_group()
    steps.add_argument("--start", action="store_true", help="only print what to open; finish later")
    steps.add_argument("--finish", metavar="ADDRESS", nargs="?", const="", help="the address or code that came back")
    steps.add_argument("--status", action="store_true", help="say whether a login waits, and what came of the last one")
    steps.add_argument("--cancel", action="store_true", help="no login any more")
    steps.add_argument(
        "--import", dest="source", metavar="FROM", help="take tokens over: FILE, -, mcp-remote, claude-code"
    )
    login.add_argument("--device", action="store_true", help="by a code that is typed on another device")
    login.add_argument("--anew", action="store_true", help="register anew, if the server has forgotten us")
    login.add_argument("--open", action="store_true", help="start a browser (BROWSER)")
    logout = commands.add_parser("logout", help="have a server forget our tokens, and forget them ourselves")
    logout.add_argument("server", metavar="NAME", help="a server of the configuration, or a URL")
    for command, run in ((login, _login), (logout, _logout)):
        command.add_argument("--socket", metavar="PATH", help="the daemon's socket (MCPBRIDGE_SOCKET)")
        command.add_argument("--json", action="store_true", help="print the daemon's answer as it is")
        command.set_defaults(run=run)


def _serve(environment: Mapping[str, str], _options: argparse.Namespace) -> int:
    from mcpbridge.serve import serve

    return serve(environment)


def _check(environment: Mapping[str, str], _options: argparse.Namespace) -> int:
    from mcpbridge.check import check

    return check(environment, sys.stdout, sys.stderr)


def _status(environment: Mapping[str, str], options: argparse.Namespace) -> int:
    from mcpbridge.control import status

    return status(environment, options.json, sys.stdout, sys.stderr)


def _order(environment: Mapping[str, str], options: argparse.Namespace) -> int:
    from mcpbridge.control import order

    return order(options.verb, environment, options.json, sys.stdout, sys.stderr)


def _login(environment: Mapping[str, str], options: argparse.Namespace) -> int:
    from mcpbridge.login import LoginOptions, login

    step = next((step for step in ("start", "status", "cancel") if getattr(options, step)), "")
    asked = LoginOptions(
        options.server,
        "finish" if options.finish is not None else step,
        options.finish or None,
        options.source,
        options.device,
        options.anew,
        options.open,
        options.json,
    )
    return login(asked, environment, sys.stdout, sys.stderr)


def _logout(environment: Mapping[str, str], options: argparse.Namespace) -> int:
    from mcpbridge.login import logout

    return logout(options.server, environment, options.json, sys.stdout, sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
