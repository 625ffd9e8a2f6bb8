"""
What holds for the whole house: which room may import which, what each package offers, who provides what.
"""

from __future__ import annotations

import configparser
import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import twisted
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementedBy
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyClass, verifyObject

import mcpbridge
import txsse

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """A package and everything in it, imported; but not programs, which run when they are."""
    yield package
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith(".__main__"):
            yield importlib.import_module(found.name)


def setup_cfg() -> configparser.ConfigParser:
    """What the package says that it is."""
    parser = configparser.ConfigParser()
    parser.read(os.path.join(ROOT, "setup.cfg"), encoding="utf-8")
    return parser


class PackagingTests(SynchronousTestCase):
    """What is shipped."""

    def test_packages(self) -> None:
        """setup.cfg names every package that there is, and no other."""
        there = {
            os.path.relpath(folder, ROOT).replace(os.sep, ".")
            for package in (mcpbridge, txsse)
            for folder, _, names in os.walk(package.__path__[0])
            if "__init__.py" in names
        }

        named = setup_cfg()["options"]["packages"].split()

        self.assertEqual(sorted(there | {"twisted.plugins"}), sorted(named), "setup.cfg, [options], packages")

    def test_twisted_is_not_shadowed(self) -> None:
        """The folder "twisted" in the tree is a part of nobody's package: with an __init__.py it would be one."""
        found = [
            name
            for _, _, names in os.walk(os.path.join(ROOT, "twisted"))
            for name in names
            if name.startswith("__init__")
        ]

        self.assertEqual([], found)
        self.assertFalse(str(twisted.__file__).startswith(os.path.join(ROOT, "twisted")))

    def test_plugin(self) -> None:
        """twistd finds the daemon, and the names in the plugin are those of things that there are."""
        [maker] = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "mcpbridge"]

        verifyObject(IServiceMaker, maker)
        verifyObject(IPlugin, maker)
        self.assertEqual("mcpbridge.tap", getattr(maker, "module", None))
        self.assertTrue(callable(maker.options) and callable(maker.makeService))

    def test_programs(self) -> None:
        """The programs that are installed are functions that there are."""
        scripts = setup_cfg()["options.entry_points"]["console_scripts"].split("\n")
        targets = [script.partition("=")[2].strip().replace(":", ".") for script in scripts if script]

        self.assertEqual([True] * 2, [callable(namedAny(target)) for target in targets])


class ImportTests(SynchronousTestCase):
    """Who may import whom."""

    def test_contracts(self) -> None:
        """A room imports downward only, and the core does no input and output: pyproject.toml has the words."""
        program = os.path.join(os.path.dirname(sys.executable), "lint-imports")
        if not os.path.exists(program):
            self.skipTest("import-linter is not installed: pip install -e '.[test]'")

        done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)

        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_nothing_at_all(self) -> None:
        """The package itself, and the version, import nothing: the relay pays for it."""
        code = (
            "import sys; before = set(sys.modules); import mcpbridge.version; print(*sorted(set(sys.modules) - before))"
        )

        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

        self.assertEqual(["mcpbridge", "mcpbridge.version"], done.stdout.split())

    def test_no_web_server(self) -> None:
        """The daemon takes no memory for a web server until one is wanted: the HTTP endpoint, or a login."""
        code = "import sys, mcpbridge.service.daemon; print('twisted.web.server' in sys.modules)"

        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

        self.assertEqual("False", done.stdout.strip(), done.stderr)


class OfferTests(SynchronousTestCase):
    """What modules offer."""

    def test_exports(self) -> None:
        """What a module names in C{__all__} is there, once, and in order."""
        for package in (mcpbridge, txsse):
            for module in modules(package):
                names = list(getattr(module, "__all__", ()))

                self.assertEqual(sorted(set(names)), sorted(names), module.__name__)
                self.assertEqual([], [name for name in names if not hasattr(module, name)], module.__name__)

    def test_docstrings(self) -> None:
        """Each module opens with what it is for."""
        for package in (mcpbridge, txsse):
            self.assertEqual([], [module.__name__ for module in modules(package) if not module.__doc__])

    def test_providers(self) -> None:
        """Each class that says that it provides an interface has its methods, with their signatures."""
        checked = 0
        broken: list[str] = []
        for thing in classes():
            if hasattr(thing, "__getattr__"):
                continue  # Passes on what it does not do itself, to something that provides it.
            for interface in implementedBy(thing):
                checked += 1
                try:
                    verifyClass(interface, thing)
                except Invalid as error:
                    broken.append(f"{thing.__module__}: {error}")

        self.assertEqual([], broken)
        self.assertGreater(checked, 10)


def classes() -> Iterator[type]:
    """All classes of the house."""
    for package in (mcpbridge, txsse):
        for module in modules(package):
            for thing in vars(module).values():
                if isinstance(thing, type) and thing.__module__ == module.__name__:
                    yield thing
