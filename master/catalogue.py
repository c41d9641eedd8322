"""The dataset catalogue: datasets by name, for all users of a master. What their files are it does not look at.

Everybody sees and uses all of them, and registers new ones. An entry is changed and removed by its owner, operators, and the
owner of the master.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable

import msgspec

from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.messages import LARGEST_ENTRY, MOST_DATASETS, CatalogueLayout, DatasetInfo
from ..protocol.values import some
from .access import Access
from .calls import Handlers, SendMessage
from .effects import Effect, SaveDataset
from .layouts import Layouts
from .peers import Peer, Whose

log = logging.getLogger(__name__)

Kept = tuple[DatasetInfo, bytes, tuple[Whose, bytes] | None]
"""A dataset, its files as they came, and the layouts that came with them, with whose they are."""
_layouts = msgspec.msgpack.Decoder(list[CatalogueLayout])


class Catalogue:
    """The datasets that a master keeps.

    Args:
        kept: those that an earlier master has written down.
        layouts: where those of their files go: to their queries, and of nobody else than who has registered them.
        access: tells the time of the day.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        do: has any other effect carried out.
    """

    def __init__(
        self, kept: Iterable[Kept], layouts: Layouts, access: Access, send: SendMessage, do: Callable[[Effect], None]
    ) -> None:
        self._kept: dict[str, tuple[DatasetInfo, bytes]] = {}
        self._layouts = layouts
        for info, files, told in kept:
            self._kept[info.name] = info, files
            if told is not None:
                self._keep_layouts(*told)
        self._access = access
        self._send = send
        self._do = do

    def add_to(self, handlers: Handlers[Peer]) -> None:
        """What sessions ask about it comes here."""
        handlers.add(messages.PutDataset, self._put)
        handlers.add(messages.AskDatasets, self._ask)
        handlers.add(messages.GetDataset, self._get)
        handlers.add(messages.RemoveDataset, self._remove)

    def _put(self, peer: Peer, message: messages.PutDataset, frames: Frames, now: float) -> None:
        refusal = self._no_place_for(peer, message, frames)
        if refusal:
            self._refuse(peer, message.request, refusal, now)
            return
        before = self._kept.get(message.info.name)
        user, owner = peer.who.user, peer.who.user or message.info.owner
        if before is not None:  # whoever changes it, it stays whose it was
            user, owner = before[0].user, before[0].owner
        version = 1 if before is None else before[0].version + 1
        info = msgspec.structs.replace(
            message.info, user=user, owner=owner, registered=now + self._access.epoch, version=version
        )
        told = ((peer.who.user, peer.who.user or message.info.owner), bytes(frames[1])) if len(frames) > 1 else None
        if told is not None and not self._keep_layouts(*told):
            self._refuse(peer, message.request, "malformed layouts of files", now)
            return
        self._kept[info.name] = info, bytes(frames[0])
        self._do(SaveDataset(info.name, self._kept[info.name], told))
        log.info("%s registers dataset %s, version %d: %d files", peer.name, info.name, version, info.files)
        self._send(peer.identity, messages.DatasetIs(message.request, info), now=now)

    def _no_place_for(self, peer: Peer, message: messages.PutDataset, frames: Frames) -> str:
        """Why a dataset is not taken in; empty if it is."""
        name, replaces = message.info.name, message.replaces
        known = self._kept.get(name)
        if len(frames) not in (1, 2) or any(len(frame) > LARGEST_ENTRY for frame in frames):
            return f"a dataset comes with one list of files, of at most {LARGEST_ENTRY >> 20} MB: register parts of it"
        if not name:
            return "a dataset needs a name"
        if known is None:
            if replaces:
                return f"dataset {name!r} is not in the catalogue any more: somebody has removed it"
            return (
                f"there are {MOST_DATASETS} datasets already: remove some" if len(self._kept) >= MOST_DATASETS else ""
            )
        if replaces is None:
            return (
                f"there is a dataset {name!r} already, {whose(known[0])}, of {known[0].files:,} files: replace=True takes "
                "its place"
            )
        if refusal := self._not_for(peer, known[0]):
            return refusal
        if replaces not in (0, known[0].version):
            return f"dataset {name!r} was changed by somebody else meanwhile: do it again"
        return ""

    def _ask(self, peer: Peer, message: messages.AskDatasets, frames: Frames, now: float) -> None:
        wanted = sorted(self._kept) if message.names is None else [name for name in message.names if name in self._kept]
        found = [self._kept[name][0] for name in wanted]
        self._send(peer.identity, messages.Datasets(message.request, found), now=now)

    def _get(self, peer: Peer, message: messages.GetDataset, frames: Frames, now: float) -> None:
        if message.name in self._kept:
            info, files = self._kept[message.name]
            self._send(peer.identity, messages.DatasetIs(message.request, info), [files], now=now)
        else:
            self._refuse(peer, message.request, self._unknown(message.name), now)

    def _remove(self, peer: Peer, message: messages.RemoveDataset, frames: Frames, now: float) -> None:
        known = self._kept.get(message.name)
        refusal = self._unknown(message.name) if known is None else self._not_for(peer, known[0])
        if refusal:
            self._refuse(peer, message.request, refusal, now)
            return
        del self._kept[message.name]
        self._do(SaveDataset(message.name, None))
        log.info("%s removes dataset %s", peer.name, message.name)
        self._send(peer.identity, messages.Done(message.request), now=now)

    def _keep_layouts(self, whose: Whose, told: bytes) -> bool:
        """Have them for the queries of this owner; false when they are none."""
        try:
            described = _layouts.decode(told)
        except msgspec.MsgspecError:
            return False
        for it in described:
            self._layouts.keep((*whose, it.path, it.tree), it.layout)
        return True

    def _refuse(self, peer: Peer, request: int, reason: str, now: float) -> None:
        self._send(peer.identity, messages.Refused(request, reason), now=now)

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._kept, n=3, cutoff=0.5)
        known = f"the nearest names are {', '.join(near)}" if near else f"there are: {some(sorted(self._kept))}"
        return f"no dataset {name!r} in the catalogue of this master; {known}"

    @staticmethod
    def _not_for(peer: Peer, info: DatasetInfo) -> str:
        """Why a session may not change a dataset; empty if it may."""
        if peer.who.may_change_dataset(info):
            return ""
        return f"dataset {info.name!r} is {whose(info)}, and is not changed by {peer.who.user}: register it by another name"


def whose(info: DatasetInfo) -> str:
    """Whose a dataset is, in words.

    Example:
        >>> whose(DatasetInfo("ttbar", user="ada")), whose(DatasetInfo("ttbar", owner="joe"))
        ("ada's", 'of the owner of the master (joe)')
    """
    return f"{info.user}'s" if info.user else f"of the owner of the master ({info.owner})"
