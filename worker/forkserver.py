"""The forkserver: a warm process that forks slots.

Importing numba, awkward and uproot and compiling a first function costs a process more than a second. The forkserver pays
once; a slot is then a fork of it, there in milliseconds, sharing its memory. It is single-threaded and never touches
XRootD, since neither threads nor XRootD survive a fork.

It is a child of the agent and speaks over a socket pair, one packet a message:

    to the forkserver   fork SLOT NUMBER | kill SLOT | ping        NUMBER is of this process, and never used again
    from it          warm | forked SLOT PID | exited SLOT STATUS | pong        STATUS as of `os.waitpid`

With `fork` come the descriptors that are to be the slot's standard output and error, if there are any, and one from which
the slot, and nobody else, reads the word by which its agent knows it. With `forked` comes one of the file in which the
kernel counts the slot's memory, which a process that hides it has to open itself.

What user code does in a slot never comes here: nothing is read from slots but that they have ended, nothing is imported
from the working directory, and slots keep none of what is open here.

It ends when the agent ends, however the agent ends, with the slots and all that they have started; the kernel ends the slots
when the forkserver is killed (PR_SET_PDEATHSIG), and what they have started is the agent's to end (see
`worker.slot.process_family`): no process is left behind, not even one in an endless loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..system.freed_memory import keep_freed_memory
from ..system.garbage import nothing_is_garbage
from ..system.hidden_memory import hide_memory
from .slot import process_family
from .slot.standard_streams import flush, say_line_by_line

END_SECONDS = 60.0
"""For which it tries to end what is left."""


def main() -> None:
    """Entry point: `python -m eventmill.worker.forkserver FD AGENT_PID ENDPOINT CACHE BOARD`."""
    fd, agent, *places = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    process_family.die_with_parent(agent)
    hide_memory()
    for number in (signal.SIGINT, signal.SIGTERM):  # a batch system tells all processes of a job: the agent sees to it
        signal.signal(number, signal.SIG_IGN)
    say_line_by_line()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger(__package__).setLevel(logging.INFO)  # not of libraries: what slots compile is worth a line
    link = socket.socket(fileno=fd)
    with nothing_is_garbage():
        from .slot import process as slot

        slot.warm()
        keep_freed_memory()
    if not os.environ.get("PYTHONSAFEPATH"):
        sys.path.insert(0, str(Path.cwd()))  # slots import from there, as any Python, unless they are to be kept apart
    process_family.take_orphans_in()
    process_family.outlive_parent()
    link.send(b"warm")
    Forkserver(link, lambda index, number, word: slot.main(index, number, word, *places)).run()
    os._exit(0)  # to take all that is imported down takes a while


class Forkserver:
    """Forks slots on request and reports their ends.

    Args:
        link: to the agent.
        be_slot: what a fork does, which ends with it; it is given the slot, the number of the process, and the descriptor
            from which it reads its word.
    """

    def __init__(self, link: socket.socket, be_slot: Callable[[int, int, int], NoReturn]) -> None:
        self.link = link
        self.be_slot = be_slot
        self._slots: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._writer = os.pipe()

    def run(self) -> None:
        """Serve until the agent closes the link, or has ended; no process is left then."""
        try:
            with contextlib.suppress(ConnectionError):  # the agent has ended in the middle of it
                self._serve()
        finally:
            process_family.end_children(END_SECONDS)

    def _serve(self) -> None:
        os.set_blocking(self._writer, False)
        os.set_blocking(self._wakeup, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._selector.register(self.link, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._wakeup:
                    os.read(self._wakeup, 4096)
                    self._reap()
                    continue
                order, ends, _, _ = socket.recv_fds(self.link, 4096, 3)
                word, *numbers = order.decode().split() or [""]
                if word == "fork":
                    index, number = map(int, numbers)
                    self._fork(index, number, ends)
                elif word == "kill":
                    self._kill(int(numbers[0]))
                elif word == "ping":
                    self.link.send(b"pong")
                else:
                    return

    def _fork(self, index: int, number: int, ends: list[int]) -> None:
        """Fork a slot; the last of `ends` is for its word, the others are its standard output and error."""
        forkserver = os.getpid()
        flush()
        pid = os.fork()
        if pid == 0:
            try:
                *outputs, word = ends
                for standard, end in zip((1, 2), outputs, strict=False):
                    os.dup2(end, standard)
                    os.close(end)
                process_family.die_with_parent(forkserver)
                os.setsid()  # a signal to its group reaches what the slot has started, and nobody else
                process_family.take_orphans_in()
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                self._introduce(index)
                self._let_go()
                self.be_slot(index, number, word)
            except BaseException:
                logging.getLogger(__name__).exception("slot %d ended by an error of eventmill itself", index)
            finally:
                os._exit(70)
        self._slots[pid] = index
        for end in ends:
            os.close(end)

    def _introduce(self, index: int) -> None:
        """A fork tells the agent which process it is, and lets it see how much memory it takes; it ends at once where the
        agent has ended by now."""
        files = []
        with contextlib.suppress(OSError):  # a kernel before 4.14
            files.append(os.open("/proc/self/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC))
        try:
            socket.send_fds(self.link, [f"forked {index} {os.getpid()}".encode()], files)
        except ConnectionError:
            os._exit(0)
        for file in files:
            os.close(file)

    def _let_go(self) -> None:
        """A fork keeps nothing by which it could disturb this process: what is open is open to both."""
        self.link.close()
        self._selector.close()
        os.close(self._wakeup)
        os.close(self._writer)

    def _kill(self, index: int) -> None:
        """End a slot's process; nothing to do if it has ended by itself."""
        for pid, known in self._slots.items():
            if known == index:
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Report the slots that have ended, and end what they had started: all of that comes to us, step by step."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid in self._slots:
                    self.link.send(f"exited {self._slots.pop(pid)} {status}".encode())
                process_family.kill_children(self._slots)


if __name__ == "__main__":
    main()
