"""Compiled code on disk: what one slot compiles, all slots of the machine load, in this session and in later ones.

A piece of code is one file, named by everything that decides it. Who finds none takes the lock of that name first:
others that need the same wait, and load. The lock is the operating system's, which frees it when its holder is killed.
A folder that cannot be used costs time, never a result: every slot compiles by itself then, and says so once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import re
import secrets
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
import numpy as np
from numba.core.registry import cpu_target

from ...protocol.errors import AnalysisError
from ...system.locks import lock
from ...system.private_folders import make_private, not_ours_alone
from ..cache_eviction import tidy, use
from .numba_internals import packed, unpacked

log = logging.getLogger(__name__)

LONGEST_WAIT = 120.0
"""Seconds that a slot waits for another one to compile; that one may be stopped, and stay so."""
_OURS = re.compile(r"[0-9a-f]{40}\.(code|lock|lines)|\.[0-9a-f]{40}\.(code|lines)\.[0-9a-f]{8}")
"""Names of what is made here: code, locks, lines, and what was not written to its end."""
_CONFIGURED = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML", "DEBUGINFO_DEFAULT", "FULL_TRACEBACKS")
"""Of numba's configuration, what the environment may set and what goes into machine code."""
_DIGEST = hashlib.sha256().digest_size
_FORMAT = 2
"""Of the files."""


@functools.cache
def environment() -> str:
    """All outside the source that decides machine code: processor, versions, configuration."""
    versions = [numba.__version__, llvmlite.__version__, np.__version__, sys.version]
    configured = [f"{name}={getattr(numba.config, name, None)}" for name in _CONFIGURED]
    return " ".join([*cpu_target.target_context.codegen().magic_tuple(), *versions, *configured])


class Provided(NamedTuple):
    """Code that is there.

    Attributes:
        compiled: it was compiled now.
        names: those of the functions asked about that it calls.
        told: what was known when it was compiled.
    """

    compiled: bool
    names: set[str]
    told: tuple[str, ...]


class CompiledCode:
    """A folder of compiled functions.

    Args:
        folder: made when it is first needed; processes and machines may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._complained = False

    def provide(
        self,
        function: Any,
        argument_types: tuple[Any, ...],
        key: str,
        names: Collection[str] = (),
        told: Callable[[], Iterable[str]] = tuple,
    ) -> Provided:
        """Load the machine code of a function, or compile it and keep it for others.

        Args:
            function: made by `numba.njit`, not compiled yet.
            argument_types: numba types, for which it is compiled.
            key: hexadecimal; names everything that decides the code but for `environment`.
            names: of functions that it may call.
            told: what is known when it has been compiled, and is kept with the code.

        Raises:
            AnalysisError: numba is told not to compile.
            NumbaError: it does not compile; and whatever else numba lets through.
        """
        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise AnalysisError(
                "kernels, and the numbers that analyses without data draw, are compiled, and NUMBA_DISABLE_JIT is set where "
                "this worker runs: unset it (in your shell, or in numba's .numba_config.yaml) and start the session or the "
                "worker again. To look into a kernel in Python, call it with values of one entry"
            )
        path = self._place(key, "code")
        found = self._load(path, function, names)
        if found is not None:
            return found
        with contextlib.ExitStack() as turn:
            waited = turn.enter_context(self._turn(path.with_suffix(".lock")))
            found = self._load(path, function, names)
            if found is not None:
                return found
            if waited:  # whoever had the turn could not keep the code: nobody waits for the same again
                turn.close()
            function.compile(argument_types)
            result = function.overloads[argument_types]
            text = result.library.get_llvm_str() if names else ""
            known = tuple(told())
            self._keep(path, result, known)
        return Provided(True, {name for name in names if name in text}, known)

    def recall(self, key: str) -> list[str]:
        """The lines that somebody has had remembered by this key; none if nobody has."""
        path = self._place(key, "lines")
        content = self._read(path)
        if content is None:
            return []
        use(path)
        return content[_DIGEST:].decode().splitlines()

    def remember(self, key: str, lines: Iterable[str]) -> None:
        """Keep lines, so that other processes `recall` them."""
        try:
            make_private(self._folder)
        except OSError as error:
            self._complain(error)
            return
        self._write(self._place(key, "lines"), "\n".join(lines).encode())

    def _place(self, key: str, what: str) -> Path:
        name = hashlib.sha256(f"{_FORMAT} {environment()} {key}".encode()).hexdigest()[:40]
        return self._folder / f"{name}.{what}"

    def _load(self, path: Path, function: Any, names: Collection[str]) -> Provided | None:
        """Let a function have its code from a file, if there is one."""
        context = function.targetctx
        content = self._read(path)
        if content is None:
            return None
        context.refresh()
        known, code = pickle.loads(memoryview(content)[_DIGEST:])
        result = unpacked(context, pickle.loads(code))
        context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        function.add_overload(result)
        use(path)
        return Provided(False, {name for name in names if name.encode() in content}, known)

    def _read(self, path: Path) -> bytes | None:
        """A file as it was written, with its digest before it; None if there is none that can be trusted."""
        try:
            with path.open("rb") as file:
                if reason := not_ours_alone(os.fstat(file.fileno())):
                    log.warning("%s is not used, since %s: what is in it is compiled again", path, reason)
                    return None
                content = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(error)
            return None
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            log.warning("%s is damaged: what is in it is compiled again", path)
            return None
        return content

    def _keep(self, path: Path, result: Any, known: tuple[str, ...]) -> None:
        if result.library.has_dynamic_globals:
            log.warning(
                "%s uses a large array of the script, with which it cannot be kept: every slot compiles it; make it a "
                "parameter, table=em.constant(array)",
                path.name,
            )
            return
        self._write(path, pickle.dumps((known, packed(result))))

    def _write(self, path: Path, content: bytes) -> None:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            part.write_bytes(hashlib.sha256(content).digest() + content)
            part.replace(path)
        except OSError as error:
            self._complain(error)
            with contextlib.suppress(OSError):
                part.unlink()
            return
        tidy(self._folder, _OURS)

    @contextlib.contextmanager
    def _turn(self, path: Path) -> Iterator[bool]:
        """Nobody else has a turn at the same code meanwhile, if the file system has locks; whether it was waited for."""
        try:
            make_private(self._folder)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._complain(error)
            yield False
            return
        try:
            yield _locked(file)
        finally:
            # Who waits holds the file, not its name; who comes later finds the code, or nobody at work.
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(file)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warning("compiled code cannot be kept in %s: %s; every slot compiles by itself", self._folder, error)


def _locked(descriptor: int) -> bool:
    """Lock an open file; whether that had to be waited for. Gives up when it takes too long."""
    try:
        if lock(descriptor):
            return False
        lock(descriptor, LONGEST_WAIT)
    except OSError:  # a network file system without locks: what is compiled twice is right all the same
        return False
    return True
