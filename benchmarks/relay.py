"""What a relay lets through: raw bytes, and an encrypted connection of ZeroMQ, with and without one, on this machine."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import zmq
from eventmill.launch.relay import Relay

RAW_BYTES, ENCRYPTED_BYTES = 4 << 30, 1 << 30
PIECE = 16 << 20
_STARTED = multiprocessing.get_context("spawn")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def relay(port: int, master: int) -> None:
    """Pass on from one port to the other, until told to end."""
    Relay(lambda: f"tcp://127.0.0.1:{master}", "127.0.0.1", port).run()


def take_raw(port: int, said: Any) -> None:
    """Take all that comes in one connection."""
    buffer = bytearray(1 << 20)
    with socket.create_server(("127.0.0.1", port)) as server:
        said.put("ready")
        connection, _ = server.accept()
        size, began = 0, time.perf_counter()
        while got := connection.recv_into(buffer):
            size += got
        said.put(size / (time.perf_counter() - began))


def send_raw(port: int) -> None:
    """Send as much as is measured."""
    with socket.create_connection(("127.0.0.1", port)) as end:
        piece = bytes(PIECE)
        for _ in range(RAW_BYTES // PIECE):
            end.sendall(piece)


def take_encrypted(port: int, said: Any) -> None:
    """The same by CURVE, as a master does; it says its key first."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    key, router.curve_secretkey = zmq.curve_keypair()
    router.curve_server, router.rcvhwm = True, 0
    router.bind(f"tcp://127.0.0.1:{port}")
    said.put(key)
    size, began = 0, 0.0
    while size < ENCRYPTED_BYTES:
        size += len(router.recv_multipart(copy=False)[1].buffer)
        began = began or time.perf_counter()
    said.put((size - PIECE) / (time.perf_counter() - began))


def send_encrypted(port: int, key: bytes) -> None:
    """The same by CURVE, as a worker does."""
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.curve_serverkey = key
    dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
    dealer.sndhwm = 8
    dealer.connect(f"tcp://127.0.0.1:{port}")
    for _ in range(ENCRYPTED_BYTES // PIECE):
        dealer.send(bytes(PIECE), copy=False)
    dealer.close()
    context.term()


@contextmanager
def beside(work: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """A process that does this meanwhile."""
    process = _STARTED.Process(target=work, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join()


def rate(take: Callable[..., None], send: Callable[..., None], through: bool) -> tuple[float, float]:
    """Bytes a second, and seconds of the relay's CPU time a GB."""
    said, port, master = _STARTED.Queue(), free_port(), free_port()
    with beside(take, master, said):
        key = said.get()
        arguments = [key] if isinstance(key, bytes) else []
        if not through:
            send(master, *arguments)
            return said.get(), 0.0
        with beside(relay, port, master) as process:
            wait_for(port)
            used = psutil.Process(process.pid)
            before = sum(used.cpu_times()[:2])
            send(port, *arguments)
            speed = said.get()
            size = RAW_BYTES if take is take_raw else ENCRYPTED_BYTES
            return speed, (sum(used.cpu_times()[:2]) - before) / size * 1e9


def wait_for(port: int) -> None:
    """Until somebody listens there, without calling."""
    while not any(it.laddr.port == port for it in psutil.net_connections("tcp") if it.status == psutil.CONN_LISTEN):
        time.sleep(0.05)


def main() -> None:
    """Print the table."""
    for name, take, send in (
        ("raw", take_raw, send_raw),
        ("encrypted", take_encrypted, send_encrypted),
    ):
        direct, (relayed, cost) = rate(take, send, False)[0], rate(take, send, True)
        print(f"{name:10} direct {direct / 1e9:.2f} GB/s, by the relay {relayed / 1e9:.2f} GB/s, CPU {cost:.2f} s a GB")


if __name__ == "__main__":
    main()
