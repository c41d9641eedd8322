"""A master with users, and launchers that have pools."""

from __future__ import annotations

from eventmill.protocol import messages as m
from fleet import World

LAUNCHER = b"launcher"


def key(name: str) -> str:
    return name.ljust(40, ".")


class Pooled(World):
    """A master with its owner, alice, bob and an operator, each with a session."""

    def __init__(self) -> None:
        super().__init__([1000])
        self.requests = 100
        self.hello(b"session", "session")
        for name in ("alice", "bob", "olga"):
            user = m.UserInfo(name, ["cms"] if name == "alice" else [], operator=name == "olga")
            self.ask(b"session", lambda number, user=user, name=name: m.AddUser(number, key(name), user))  # type: ignore[misc]
            self.keys[name.encode()] = key(name)
            self.hello(name.encode(), "session")

    def ask(self, who: bytes, make: object) -> m.Message:
        """What the master answers by now."""
        self.requests += 1
        self.tell(who, "session", make(self.requests))  # type: ignore[operator]
        return self.inbox[who][-1]

    def launcher(self, *pools: str, user: str = "", identity: bytes = LAUNCHER, owner: str = "") -> None:
        """A launcher with these pools joins."""
        self.keys[identity] = key(user) if user else "session"
        self.hello(identity, "launcher")
        self.tell_pools(*pools, identity=identity, owner=owner or user)

    def tell_pools(self, *pools: str, identity: bytes = LAUNCHER, owner: str = "") -> None:
        infos = [m.PoolInfo(name, "slurm", 2, 10, owner=owner) for name in pools]
        self.tell(identity, "session", m.TellPools(infos))

    def words(self, identity: bytes = LAUNCHER) -> list[m.WorkerIs]:
        """What a launcher was told of workers."""
        return [message for message in self.inbox.get(identity, []) if isinstance(message, m.WorkerIs)]

    def scale(self, who: bytes, pool: str, workers: int = 3, **more: float) -> m.Message:
        return self.ask(who, lambda number: m.Scale(number, pool, workers, **more))

    def let_pass(self, seconds: float) -> None:
        self.now += seconds
        for identity in list(self.inbox):
            if self.core._roster.find(identity) is not None:
                self.tell(identity, "worker" if identity in self.workers else "session", m.Heartbeat())
        self.carry_out(self.core.expire(self.now))
