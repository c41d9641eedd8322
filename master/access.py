"""Who may come in, and as whom: the keys that a master lets in, its users, its tokens, and the workers that came with one.

A *key* is the public half of a CURVE pair; whoever has the other half is whom the key is for, and what a peer says of
itself counts for nothing. The master's own files (`client.json`, `worker.json`) have keys whose sessions may do everything
and whose workers serve everybody. A *user* has a key of her own: her queries are hers, and nobody else's business. A
*token* lets workers enrol: its key may say nothing but that, and each worker comes back with a key that it has made itself.

Of tokens only the public halves of their keys are here, from which nobody can make the tokens again. Those that are used
up, over or revoked stay known for a while, so that who comes with one is told what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias

import msgspec

from ..protocol.messages import DatasetInfo, Enrol, Submit, TokenInfo, TokenTerms, UserInfo
from ..protocol.values import NonNegative, Word, some
from .wishes import Starts, Wished

REMEMBERED = 30 * 86400.0
"""Seconds for which a token is known after its end."""
EVERYBODY = "all"
"""With whom a query can be shared."""
MOST_TOKENS = 10_000


class AccessRefused(Exception):
    """Something is not allowed: why, in words for who wanted it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a key lets in.

    Args:
        role: what its peers may say.
        user: whose sessions these are; "" is the master's owner, who may do everything.
        operator: this user may stop queries and send workers away, whosever they are.
        owner: whose queries these workers serve: a user's, a "@group"'s, or everybody's ("").
        token: by which these workers came in, if by one.
        slots: that each of them may have.
        until: the time at which the key is good no more.
    """

    role: Literal["session", "worker", "token"]
    user: str = ""
    operator: bool = False
    owner: str = ""
    token: str = ""
    slots: int = 4096
    until: float = inf

    @property
    def is_masters(self) -> bool:
        """Whether this is the owner of the master."""
        return self.role == "session" and not self.user

    def may_read(self, submit: Submit) -> bool:
        """Whether the results and logs of a query are for this session."""
        return self.is_masters or submit.user == self.user or self.user in submit.share or EVERYBODY in submit.share

    def may_change(self, submit: Submit) -> bool:
        """Whether this session may remove a query, or bring it credentials."""
        return self.is_masters or submit.user == self.user

    def may_stop(self, submit: Submit) -> bool:
        """Whether this session may stop a query."""
        return self.operator or self.may_change(submit)

    def may_change_dataset(self, info: DatasetInfo) -> bool:
        """Whether this session may replace, refresh or remove a dataset of the catalogue."""
        return self.is_masters or self.operator or bool(info.user and info.user == self.user)

    def may_drain(self, owner: str) -> bool:
        """Whether this session may send away a worker that serves this owner."""
        return self.is_masters or self.operator or owner == self.user


SESSION, WORKER = Identity("session"), Identity("worker")
USUAL: Mapping[str, Identity] = {"session": SESSION, "worker": WORKER}
"""Two keys for tests and simulations, called as what they are."""


class User(msgspec.Struct, frozen=True, array_like=True):
    """A user, as the master writes her down."""

    name: Word
    key: Word
    groups: list[Word] = []
    operator: bool = False


class Token(msgspec.Struct, frozen=True, array_like=True):
    """A token, as the master writes it down. `until` is seconds since 1970, `by` the user who made it."""

    terms: TokenTerms
    key: Word
    by: Word
    until: float
    used: NonNegative = 0
    revoked: bool = False


class Enrolled(msgspec.Struct, frozen=True, array_like=True):
    """A worker's own key, as the master writes it down."""

    key: Word
    token: Word


Record: TypeAlias = User | Token | Enrolled
Kind = Literal["user", "token", "worker"]
Wish: TypeAlias = Wished | Starts
Change: TypeAlias = tuple[Kind | Literal["wish", "starts"], str, Record | Wish | None]
"""What is to be written down: a record of this name, or that there is none any more."""


class Access:
    """The keys that are let in.

    Args:
        keys: those of the master's own files.
        records: what an earlier master has written down.
        epoch: what is to be added to the core's time for seconds since 1970.

    Attributes:
        epoch: as it was given.
        wishes: what users have wished of pools before, and what was learnt of these.
        changes: what is to be written down.

    Example:
        >>> access = Access(USUAL)
        >>> access.make_token("T" * 40, TokenTerms("night", uses=2), SESSION, now=0.0)
        >>> enrol = Enrol("W" * 40, host="node1")
        >>> access.enrol("T" * 40, enrol, now=1.0)
        43199.0
        >>> access.identity("W" * 40, now=2.0).role, access.identity("X" * 40, now=2.0)
        ('worker', None)
    """

    def __init__(
        self, keys: Mapping[str, Identity] = USUAL, records: Iterable[Record | Wish] = (), epoch: float = 0.0
    ) -> None:
        self._own = dict(keys)
        self.epoch = epoch
        self._users: dict[str, User] = {}
        self._tokens: dict[str, Token] = {}
        self._workers: dict[str, dict[str, None]] = {}
        self._by_key: dict[str, Record] = {}
        self._due: float | None = None  # not known: something has changed
        self.changes: list[Change] = []
        self.wishes: list[Wish] = []
        for record in records:
            if isinstance(record, Wished | Starts):
                self.wishes.append(record)
            elif not isinstance(record, Enrolled) or record.token in self._tokens:
                self._put(record)
        self.changes.clear()

    # --- who is who -----------------------------------------------------------------------------------------------

    def role(self, key: str) -> str:
        """What a peer with this key is let in as; "" when it is not. It may be a token that is good for nothing any more."""
        if key in self._own:
            return self._own[key].role
        record = self._by_key.get(key)
        return "" if record is None else {User: "session", Token: "token", Enrolled: "worker"}[type(record)]

    def identity(self, key: str, now: float) -> Identity | None:
        """As whom a key lets in now; None when it does not (any more)."""
        own = self._own.get(key)
        if own is not None:
            return own
        match self._by_key.get(key):
            case User(name, _, _, operator):
                return Identity("session", user=name, operator=operator)
            case Token(terms):
                return Identity("token", owner=terms.owner, token=terms.name)
            case Enrolled(_, name):
                token = self._tokens[name]
                until, terms = token.until - self.epoch, token.terms
                if not token.revoked and now < until:
                    return Identity("worker", owner=terms.owner, token=name, slots=terms.slots, until=until)
        return None

    @property
    def users(self) -> Mapping[str, User]:
        """By their names."""
        return self._users

    def served_by(self, user: str) -> frozenset[str]:
        """The owners of workers that serve a user's queries, "" for those of the master's owner."""
        known = self._users.get(user)
        groups = () if known is None else (f"@{group}" for group in known.groups)
        return frozenset({"", user, *groups})

    # --- users ----------------------------------------------------------------------------------------------------

    def add_user(self, info: UserInfo, key: str, by: Identity) -> None:
        """Let a user in with this key, and not with an earlier one of hers.

        Raises:
            AccessRefused: only the master's owner may do that; or the name or key is none for a user.
        """
        if not by.is_masters:
            raise AccessRefused("only the owner of the master adds and removes users")
        for what, name in (("user", info.name), *(("group", group) for group in info.groups)):
            if not name.isprintable() or not name.strip() or name[0] == "@" or name in (EVERYBODY, "me"):
                raise AccessRefused(f"{name!r} is no name for a {what}")
        if self.role(key):
            raise AccessRefused("this key is known already: make another one")
        self._put(User(info.name, key, list(info.groups), info.operator))

    def remove_user(self, name: str, by: Identity) -> None:
        """Let a user in no more, and the workers that serve her neither. Raises `AccessRefused`."""
        if not by.is_masters:
            raise AccessRefused("only the owner of the master adds and removes users")
        if name not in self._users:
            raise AccessRefused(f"this master has no user {name}; there are: {some(self._users)}")
        for token in list(self._tokens.values()):
            if name in (token.terms.owner, token.by):
                self._put(msgspec.structs.replace(token, revoked=True))
        self._remove("user", name)

    # --- tokens ---------------------------------------------------------------------------------------------------

    def make_token(self, key: str, terms: TokenTerms, by: Identity, now: float) -> None:
        """Let workers enrol with a token that has this public key.

        Raises:
            AccessRefused: users make tokens for workers of their own; or there is one of this name.
        """
        if not by.is_masters and terms.owner != by.user:
            raise AccessRefused(
                f"{by.user} may make tokens for workers of {by.user}, not of {terms.owner or 'everybody'}: whom a worker "
                "serves trusts it with data and credentials"
            )
        if terms.owner and not terms.owner.startswith("@") and terms.owner not in self._users:
            raise AccessRefused(f"this master has no user {terms.owner}; there are: {some(self._users)}")
        if terms.name in self._tokens or not terms.name:
            raise AccessRefused(
                f"there is a token called {terms.name!r} already" if terms.name else "a token needs a name"
            )
        if self.role(key):
            raise AccessRefused("this key is known already: make another token")
        if len(self._tokens) >= MOST_TOKENS:
            raise AccessRefused(f"there are {MOST_TOKENS} tokens already: revoke some")
        self._put(Token(terms, key, by.user, now + self.epoch + terms.valid))

    def revoke_token(self, name: str, by: Identity) -> None:
        """Let nobody in by a token any more, and the workers that came by it neither. Raises `AccessRefused`."""
        token = self._tokens.get(name)
        if token is None or not self._is_for(token, by):
            known = [known for known, it in self._tokens.items() if self._is_for(it, by)]
            raise AccessRefused(f"no token {name!r} here; there are: {some(known)}")
        self._put(msgspec.structs.replace(token, revoked=True))

    def enrol(self, key: str, message: Enrol, now: float) -> float:
        """Let a worker in by the key of its token, with its own; the seconds for which that is good.

        Raises:
            AccessRefused: the token is used up, over, revoked, or for other workers than this one.
        """
        token = self._by_key.get(key)
        if not isinstance(token, Token):
            raise AccessRefused("only who has a token enrols")
        terms, left = token.terms, token.until - self.epoch - now
        known = self._by_key.get(message.public_key)
        comes_again = isinstance(known, Enrolled) and known.token == terms.name
        if token.revoked:
            raise AccessRefused(f"the token {terms.name!r} was revoked")
        if left <= 0:
            raise AccessRefused(f"the token {terms.name!r} is over since {-left:.0f} s: make another one")
        if terms.pool and message.pool != terms.pool:
            pool = f"pool {message.pool!r}" if message.pool else "no pool (--pool says of which)"
            raise AccessRefused(
                f"the token {terms.name!r} is for workers of pool {terms.pool!r}, and this is of {pool}"
            )
        if message.slots > terms.slots:
            raise AccessRefused(
                f"by the token {terms.name!r} a worker has at most {terms.slots} slots, not {message.slots}"
            )
        if not comes_again:
            if self.role(message.public_key):
                raise AccessRefused("this key is known already: a worker makes a new one")
            if token.used >= terms.uses:
                raise AccessRefused(f"the token {terms.name!r} is used up: it lets {terms.uses} workers in, and has")
            self._put(msgspec.structs.replace(token, used=token.used + 1))
            self._put(Enrolled(message.public_key, terms.name))
        return left

    def left(self, key: str) -> None:
        """A worker has left in good order: its own key is of no use any more."""
        if isinstance(self._by_key.get(key), Enrolled):
            self._remove("worker", key)

    def listed(self, by: Identity, now: float) -> tuple[list[UserInfo], list[TokenInfo]]:
        """The users, and the tokens that are this one's business."""
        users = [UserInfo(user.name, user.groups, user.operator) for user in self._users.values()]
        tokens = [
            TokenInfo(
                token.terms, token.used, len(self._workers.get(token.terms.name, ())),
                max(0.0, token.until - self.epoch - now), token.revoked,
            )
            for token in self._tokens.values()
            if self._is_for(token, by)
        ]  # fmt: skip
        return users, tokens

    @staticmethod
    def _is_for(token: Token, by: Identity) -> bool:
        return by.is_masters or by.user in (token.by, token.terms.owner)

    # --- time -----------------------------------------------------------------------------------------------------

    def deadline(self) -> float:
        """When `expire` is to be called at the latest."""
        if self._due is None:
            self._due = self._first_end() - self.epoch
        return self._due

    def _first_end(self) -> float:
        ends = (token.until + (0.0 if self._workers.get(name) else REMEMBERED) for name, token in self._tokens.items())
        return min(ends, default=inf)

    def expire(self, now: float) -> None:
        """Forget the keys of workers whose token is over, and tokens that were over long ago."""
        for name, token in list(self._tokens.items()):
            over = now + self.epoch - token.until
            if over >= 0:
                self._forget_workers(name)
            if over >= REMEMBERED:
                self._remove("token", name)

    # --- records --------------------------------------------------------------------------------------------------

    def _put(self, record: Record) -> None:
        kind: Kind
        match record:
            case User():
                kind, name = "user", record.name
                if record.name in self._users:
                    self._by_key.pop(self._users[record.name].key, None)
                self._users[record.name] = record
            case Token():
                kind, name = "token", record.terms.name
                self._tokens[name] = record
            case Enrolled():
                kind, name = "worker", record.key
                self._workers.setdefault(record.token, {})[record.key] = None
        self._by_key[record.key] = record
        self._changed(kind, name, record)
        if isinstance(record, Token) and record.revoked:
            self._forget_workers(record.terms.name)

    def _remove(self, kind: Kind, name: str) -> None:
        record: Record
        match kind:
            case "user":
                record = self._users.pop(name)
            case "token":
                record = self._tokens.pop(name)
            case "worker":
                record = self._by_key[name]
        self._by_key.pop(record.key, None)
        if isinstance(record, Enrolled):
            self._workers[record.token].pop(name)
        self._changed(kind, name, None)

    def _changed(self, kind: Kind, name: str, record: Record | None) -> None:
        self.changes.append((kind, name, record))
        self._due = None

    def _forget_workers(self, token: str) -> None:
        for key in list(self._workers.get(token, ())):
            self._remove("worker", key)
