"""What pyproject.toml cannot say: with EVENTMILL_COMPILE=1 in the environment, mypyc compiles the master's pure cores.

The wheel is then for the Python and the platform that it was built on. It has their sources as well, which tracebacks show.
Types are checked as they run: what is not as it is annotated is a TypeError. Generator expressions become lists: what has to
come one by one, and not all at once, is a generator function.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sysconfig
import tempfile
import tomllib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NEEDS = ["mypy>=2.4,<2.5", "msgspec>=0.19", "numpy>=2.0"]
"""The compiler, and whose types the cores use."""
INTERPRETED = {
    # They define what msgspec packs: of a class, mypyc passes on neither keywords (`array_like=True`) nor types of fields.
    "eventmill.master.access",
    "eventmill.master.finished",
    "eventmill.master.wishes",
    # Generic dataclasses: mypyc 2.4 compiles either, and what is both cannot be imported.
    "eventmill.packetizer.leases",
    "eventmill.packetizer.packets",
}


def compiled() -> list[str]:
    """The files of the pure cores that a master runs: those that import-linter watches, but for `INTERPRETED`."""
    contracts = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    pure = next(it["source_modules"] for it in contracts if it["name"].startswith("Pure cores"))
    modules = {it for it in pure if it.startswith("eventmill.master.")}
    modules |= {f"eventmill.packetizer.{path.stem}" for path in Path("packetizer").glob("[!_]*.py")}
    return [f"{it.replace('.', '/')}.py" for it in sorted(modules - INTERPRETED)]


class Compile(build_ext):
    """Has mypyc write the C first, in a folder where the root of the repository is called as the package is."""

    def run(self) -> None:
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
        headers = Path(sysconfig.get_path("include"), "Python.h")
        if shutil.which(compiler) is None or not headers.exists():
            raise SystemExit(
                f"EVENTMILL_COMPILE=1 takes a C compiler ({compiler}) and {headers}: install them (on Debian: apt-get "
                "install gcc python3-dev), or build without it"
            )
        try:
            from mypyc.build import mypycify
        except ImportError as error:
            raise SystemExit(f"EVENTMILL_COMPILE=1 takes mypyc ({error}): pip install {shlex.join(NEEDS)}") from None
        paths = compiled()
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "eventmill").symlink_to(Path.cwd())
            command = build_ext(self.distribution)
            command.build_lib, command.build_temp = str(Path(self.build_lib).absolute()), folder
            with contextlib.chdir(folder):
                options = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
                self.distribution.ext_modules = mypycify(
                    [*options, *paths], target_dir="c", group_name="eventmill_cores", debug_level="0"
                )
                command.ensure_finalized()
                command.run()


asked_for = {"cmdclass": {"build_ext": Compile}, "ext_modules": [Extension("cores", [])], "setup_requires": NEEDS}
# Its own name, since the root is the package, in which setuptools would install it otherwise.
setup(script_name="setup.py", **(asked_for if os.environ.get("EVENTMILL_COMPILE") == "1" else {}))
