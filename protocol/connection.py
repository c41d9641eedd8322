"""Keys and connection files: who may speak to which master, and as what.

A master has a folder with three files, all mode 0600:

    master.json    the master's own key pair, and the public keys that it lets in, by role
    client.json    for sessions: the master's address and public key, and a key pair with the role "session"
    worker.json    for workers: the same with the role "worker"; it cannot submit work, read results or command

A connection file is all that a peer needs, and all that it takes: treat it like a password. A file that others may read
is refused. Keys are CURVE keys (Curve25519), in ZeroMQ's Z85 text.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
import platformdirs

from ..system.private_folders import make_private
from .errors import ConnectionFailed

CLIENT_FILE, WORKER_FILE, MASTER_FILE = "client.json", "worker.json", "master.json"
KeyRole = Literal["session", "worker", "token"]
"""What a key is for: a session, a worker, or to let workers enrol."""
_Content = TypeVar("_Content", bound=msgspec.Struct)

DEFAULT_PORT = 8786
"""The one port that CERN's login machines let through, and dask's default."""
PROXY_PREFIX = "EVENTMILL_PROXY_PREFIX"
"""The environment variable of workers that names their site's cache or proxy of root:// files."""


class Connection(msgspec.Struct, frozen=True):
    """Content of a connection file."""

    address: str
    role: KeyRole
    server_key: str
    public_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"Connection({self.address}, {self.role})"

    @property
    def facility(self) -> str:
        """A word for this master that no other one has, and that is no secret: it stays as long as its key does."""
        return hashlib.blake2s(self.server_key.encode(), digest_size=8).hexdigest()


class MasterKeys(msgspec.Struct, frozen=True):
    """Content of `master.json`: the master's keys, and the role of each public key that may come in."""

    public_key: str
    secret_key: str
    peers: dict[str, Literal["session", "worker"]]

    def __repr__(self) -> str:
        return f"MasterKeys({len(self.peers)} peers)"


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The three files of one master."""

    path: Path

    @property
    def client(self) -> Path:
        """What a session connects with."""
        return self.path / CLIENT_FILE

    @property
    def worker(self) -> Path:
        """What a worker connects with."""
        return self.path / WORKER_FILE

    @property
    def master(self) -> Path:
        """The master's own keys, and those that it lets in."""
        return self.path / MASTER_FILE

    @property
    def access(self) -> Path:
        """Where the master writes down its users and tokens."""
        return self.path / "access.sqlite"

    @property
    def catalogue(self) -> Path:
        """Where the master writes down its datasets."""
        return self.path / "catalogue.sqlite"

    @property
    def journal(self) -> Path:
        """Where the master writes down its queries, unless it is told otherwise."""
        return self.path / "journal.sqlite"


def parse_address(text: str) -> str:
    """The address of a master or relay as people write it: tcp://host:8786, host:8786, or just host.

    Raises:
        ValueError: it is none.

    Example:
        >>> parse_address("login01.site")
        'tcp://login01.site:8786'
    """
    address = text if "://" in text else f"tcp://{text}"
    with contextlib.suppress(ValueError):  # no number, or none of a port
        parts = urlsplit(address)
        if parts.scheme == "tcp" and parts.hostname and not parts.path and parts.port != 0:
            return address if parts.port else f"{address}:{DEFAULT_PORT}"
    raise ValueError(f"{text!r} is no address: it must be like tcp://host:{DEFAULT_PORT}")


def state_folder() -> Path:
    """Where the key folders of named masters lie: `$EVENTMILL_STATE`, or the user's state folder."""
    override = os.environ.get("EVENTMILL_STATE")
    return Path(override) if override else Path(platformdirs.user_state_dir("eventmill"))


def named(name: str) -> KeyFolder:
    """The key folder of the master called `name`."""
    return KeyFolder(state_folder() / name)


def make_keys(folder: Path, address: str) -> KeyFolder:
    """Make new keys for a master at `address`, and its connection files, in the place of those that the folder has.

    Raises:
        ConnectionFailed: a file of that name in the folder is something else, and would be lost.

    Example:
        >>> import tempfile
        >>> keys = make_keys(Path(tempfile.mkdtemp()), "tcp://127.0.0.1:8786")
        >>> load_connection(keys.worker).role
        'worker'
    """
    server, client, worker = _key_pair(), _key_pair(), _key_pair()
    keys = KeyFolder(folder)
    _check_replaceable(keys)
    make_private(folder)
    write_connection(keys.master, MasterKeys(*server, peers={client[0]: "session", worker[0]: "worker"}))
    write_connection(keys.client, Connection(address, "session", server[0], *client))
    write_connection(keys.worker, Connection(address, "worker", server[0], *worker))
    return keys


def _check_replaceable(keys: KeyFolder) -> None:
    """Raise `ConnectionFailed` if a file of this folder is none of a master's, but one of the user's of the same name."""
    for file in (keys.master, keys.client, keys.worker):
        try:
            found = json.loads(file.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not {"public_key", "secret_key"} <= found.keys():
            raise ConnectionFailed(
                f"{file} holds no keys of a master, and it would be written over: give another folder"
            )


def set_address(keys: KeyFolder, address: str) -> None:
    """Write another address of the master into its connection files."""
    for file in (keys.client, keys.worker):
        connection = load_connection(file)
        if connection.address != address:
            write_connection(file, msgspec.structs.replace(connection, address=address))


def load_connection(file: Path) -> Connection:
    """Read a connection file.

    Raises:
        ConnectionFailed: it is missing, readable by others, or not a connection file.
    """
    return _read_private(file, Connection)


def load_master_keys(keys: KeyFolder) -> MasterKeys:
    """Read a master's keys. Raises `ConnectionFailed` as `load_connection` does."""
    return _read_private(keys.master, MasterKeys)


def find_connection(target: str | os.PathLike[str], role: KeyRole = "session") -> Connection:
    """The connection that a user means by `target`; see `find_file`. Raises `ConnectionFailed` as `load_connection` does."""
    return load_connection(find_file(target, role))


def find_file(target: str | os.PathLike[str], role: KeyRole = "session") -> Path:
    """The connection file that a user means by `target`: the file itself, the name of a master, or its address.

    A name is that of a master in the state folder, whatever lies in the current folder, which may be anybody's: a folder
    there is meant by `./name`. An address works for masters whose connection file lies in the state folder (`eventmill keys`
    puts it there).

    Raises:
        ConnectionFailed: there is no such file or name, or no key for the address.
    """
    text = os.fspath(target)
    file = CLIENT_FILE if role == "session" else WORKER_FILE
    if text.startswith("tcp://"):
        return _by_address(text, file)
    path = Path(text).expanduser()
    is_name = isinstance(target, str) and "/" not in text and not text.startswith((".", "~"))
    if is_name and (named(text).path / file).exists():
        return named(text).path / file
    if not is_name and (path / file).exists():
        return path / file
    if path.suffix == ".json" or (path.is_file() and not is_name):
        return path
    names = sorted(folder.name for folder in state_folder().glob("*") if (folder / file).exists())
    raise ConnectionFailed(
        f"no connection file and no master called {text!r}; masters known here: {', '.join(names) or 'none'}. "
        + (f"The folder of that name here is ./{text}. " if is_name and path.exists() else "")
        + "`eventmill master` starts one and says where its connection files are"
    )


def _by_address(address: str, file: str) -> Path:
    for candidate in sorted(state_folder().glob(f"*/{file}")):
        if load_connection(candidate).address == address:
            return candidate
    raise ConnectionFailed(
        f"no key for the master at {address}: copy its {file} to this machine (`eventmill keys` shows where it is) "
        "and connect with the file's path"
    )


def _key_pair() -> tuple[str, str]:
    import zmq

    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def write_connection(file: Path, content: Connection | MasterKeys) -> None:
    """Write a connection file, or a master's keys, that nobody else can read at any moment."""
    write_private_text(file, json.dumps(msgspec.to_builtins(content), indent=2) + "\n")


def write_private_text(file: Path, text: str) -> None:
    """Write a file that nobody else can read at any moment, whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    temporary.replace(file)


def read_private_text(file: Path) -> str:
    """Read a file with a secret in it. Raises `ConnectionFailed` when it cannot be read, or others can read it, too."""
    try:
        mode = file.stat().st_mode
        if mode & 0o077:
            raise ConnectionFailed(
                f"{file} can be read by others (mode {mode & 0o777:04o}) and holds a secret key: "
                f"make a new one, or `chmod 600 {file}` if nobody can have read it"
            )
        return file.read_text()
    except OSError as error:
        raise ConnectionFailed(f"cannot read the connection file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConnectionFailed(f"{file} is not a connection file of eventmill: it is not text") from None


def _read_private(file: Path, kind: type[_Content]) -> _Content:
    try:
        return msgspec.json.decode(read_private_text(file), type=kind)
    except msgspec.MsgspecError as error:
        raise ConnectionFailed(f"{file} is not a connection file of eventmill: {error}") from None
