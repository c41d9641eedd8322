"""The dataset catalogue of a session's master: datasets by name, for everybody who uses the master."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from ..dataset.catalogue.entries import check_name, info_of, packed, unpacked
from ..dataset.catalogue.verification import FileFacts, copies, differences, learnt
from ..dataset.dataset import Dataset
from ..dataset.generated import items
from ..dataset.paths import key
from ..display.dataset_table import DatasetList, Finding, Verification
from ..display.logs import compiled
from ..protocol import messages
from ..protocol.addresses import has_secret, shown
from ..protocol.codec import Buffer
from ..protocol.errors import DatasetError, QueryFailed, nearest
from ..protocol.messages import (
    LARGEST_LAYOUTS,
    CatalogueFile,
    CatalogueFiles,
    CatalogueLayout,
    DatasetInfo,
    Message,
)
from ..reading.storage.list_files import list_files
from .output_files import as_dataset
from .owner import owner
from .requests import Answer

if TYPE_CHECKING:
    from .session import Data, Session


_DESCRIBED = 64
"""The first files of a dataset, whose layouts are kept with it: those of all would be gigabytes."""
Looks: TypeAlias = list[list[FileFacts]]
"""What was found at each path of each file."""
_Files: TypeAlias = list[CatalogueFile]
_Layouts: TypeAlias = list[CatalogueLayout]


class CatalogueEntry:
    """A dataset of the catalogue: `session.datasets[name]`.

    Attributes:
        info: what is told of it in lists: files, entries, bytes, metadata, whose it is.
        files: where they are, with lengths, sizes and checksums.
    """

    def __init__(self, info: DatasetInfo, files: CatalogueFiles) -> None:
        self.info = info
        self._files = files

    @property
    def files(self) -> list[CatalogueFile]:
        """The files, in their order."""
        return list(self._files.files)

    @property
    def dataset(self) -> Dataset:
        """What `session.process` takes, also of another master: with lengths, and no need to look for files."""
        return Dataset(self.info.name).resolved({self.info.name: self._files})

    def __repr__(self) -> str:
        return repr(DatasetList([self.info]))

    def _repr_html_(self) -> str:
        return DatasetList([self.info])._repr_html_()


class Datasets:
    """The datasets that a session's master knows by name: `session.datasets`.

    A standing master keeps them when it ends; one of a session's own ends with the session, and forgets them. Everybody who
    uses a master sees all of them; who registered one changes it, and operators do, and the owner of the master.

    Args:
        session: whose master it is.
        known: entries that the session has got already, by name.

    Example:
        >>> entry = session.datasets.register("muons", "events.root", tree="Events", metadata={"cross_section": 2.5})
        >>> entry.info.entries, entry.info.metadata, "muons" in session.datasets
        (10000, {'cross_section': 2.5}, True)
        >>> session.process("muons", missing_energy).result()["met"].sum()
        10000.0
        >>> session.datasets.verify("muons")
        muons: 1 files are there, as they were registered (10,000 entries)
        >>> session.datasets.remove("muons")
    """

    def __init__(self, session: Session, known: dict[str, CatalogueEntry]) -> None:
        self._session = session  # which holds no `Datasets`, or nobody's going would end it
        self._known = known

    # --- what there is ------------------------------------------------------------------------------------------------

    def list(self, grep: str | None = None) -> DatasetList:
        """The datasets, by name: a list that is shown as a table.

        Args:
            grep: only those in whose names this regular expression is found.

        Raises:
            ConnectionFailed: the master does not answer.
            ValueError: `grep` is no regular expression.
        """
        pattern = None if grep is None else compiled(grep)
        return DatasetList(info for info in self._ask(None) if pattern is None or pattern.search(info.name))

    def __getitem__(self, name: str) -> CatalogueEntry:
        """A dataset with its files. Raises `DatasetError` when there is none of this name."""
        answer, frames = self._request(partial(messages.GetDataset, name=name), messages.DatasetIs)
        return CatalogueEntry(answer.info, unpacked(frames[0] if frames else b""))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._ask([name]))

    def __iter__(self) -> Iterator[str]:
        return iter([info.name for info in self._ask(None)])

    def __repr__(self) -> str:
        return repr(self.list())

    def _repr_html_(self) -> str:
        return self.list()._repr_html_()

    # --- changes ------------------------------------------------------------------------------------------------------

    def register(
        self,
        name: str,
        dataset: Data,
        *,
        tree: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        replace: bool = False,
        scan: bool = True,
    ) -> CatalogueEntry:
        """Keep a dataset by a name. From then on `em.Dataset(name)` and `session.process(name, ...)` mean its files.

        Args:
            name: letters, digits and `_ . + -`.
            dataset: as for `process`: a path, a pattern, a list, a coffea fileset, `em.Dataset.read(...)` of a list of
                files that another catalogue has written, or the files that a query has written, `result["skim"]`, which are
                compared with what it says of them.
            tree: the tree that analyses mean, where the dataset does not say.
            metadata: numbers, words and flags of all files, such as the cross section: analyses get them with the files.
            replace: take the place of a dataset of this name.
            scan: have workers open each file once, and keep its length and identity: it is known then how much there is, and
                a file that is another one later is noticed. Without, files are registered unseen.

        Raises:
            DatasetError: there are no such files, or some cannot be read: all of these are named; the dataset has what is
                said where it is used (masks, aliases, friends, entry lists, max_entries); there is one of this name; or it
                is somebody else's.
        """
        check_name(name)
        given = self.resolve(as_dataset(dataset))
        _check_plain(given, name)
        own = Dataset("any.root", metadata=metadata).files[0].metadata
        said = [
            msgspec.structs.replace(
                file, path=key(file.path), tree=file.tree or tree or "", metadata={**file.metadata, **own}
            )
            for file in given.files
        ]
        of = CatalogueFiles([], said)
        if not replace and name in self:  # before all files are opened for nothing
            raise DatasetError(f"there is a dataset {name!r} already: replace=True takes its place")
        files, layouts = self._listed(of, given), list[CatalogueLayout]()
        if scan:
            files, layouts = self._scanned(files, name)
        return self._store(name, CatalogueFiles(files, of.given), 0 if replace else None, layouts)

    def refresh(self, name: str) -> CatalogueEntry:
        """Take the files of a dataset as they are now: those that its patterns stand for, with their lengths.

        Raises:
            DatasetError: some cannot be read, there is no such dataset, it is somebody else's, or was changed meanwhile.
        """
        entry = self[name]
        of = entry._files
        checksums = {it.file.path: it.checksum for it in of.files}
        identities = {it.file.path: it.file.identity for it in of.files}
        files, layouts = self._scanned(self._listed(of, Dataset.of_files(of.given)), name)
        same = [identities.get(it.file.path) == it.file.identity or not checksums.get(it.file.path) for it in files]
        kept = [  # but what a list has said of other bytes
            it if is_same else CatalogueFile(it.file, it.size) for it, is_same in zip(files, same, strict=True)
        ]
        return self._store(name, CatalogueFiles(kept, of.given), entry.info.version, layouts)

    def verify(
        self, name: str, *, checksum: Literal["", "adler32", "crc32", "md5", "sha1", "sha256", "sha512"] | bool = ""
    ) -> Verification:
        """Look at all files of a dataset, with their replicas, by a query: workers open each and say what it is.

        Args:
            name: of the dataset.
            checksum: read all bytes, too, and compare their checksum with the registered one, where there is one. True: of
                whatever kind was registered.

        Returns:
            What is wrong: files that are missing, cannot be reached, are others than were registered, or have other lengths.
            Empty, and `.ok`, when nothing is.

        Raises:
            DatasetError: there is no such dataset.
        """
        entry = self[name]
        found = self._looked_at(entry.files, name, checksum)
        wrong = [
            Finding(*difference)
            for it, at_paths in zip(entry.files, found, strict=True)
            for path, facts in zip((it.file.path, *it.file.replicas), at_paths, strict=True)
            for difference in differences(it, path, facts)
        ]
        entries = sum(next((facts.entries for facts in at_paths if not facts.error), 0) for at_paths in found)
        return Verification(wrong, name, sum(map(len, found)), entries)

    def remove(self, name: str) -> None:
        """Forget a dataset; its files stay where they are.

        Raises:
            DatasetError: there is none of this name, or it is somebody else's.
        """
        self._request(partial(messages.RemoveDataset, name=name), messages.Done)

    # --- use ----------------------------------------------------------------------------------------------------------

    def resolve(self, dataset: Dataset) -> Dataset:
        """A dataset with the files of the catalogue in the place of names of it.

        Raises:
            DatasetError: a name is that of a file or folder here, too, or of nothing.
        """
        names = dataset.named
        if not names:
            return dataset
        infos = {info.name: info for info in self._ask(names)}
        for name in names:
            here = Path(name).exists()
            if name in infos and here:
                raise DatasetError(
                    f"{name} is a dataset of the catalogue, and a file or folder here: write ./{name} for that, or go to "
                    "another folder"
                )
            if name not in infos and not here:
                near = nearest(name, self)
                raise DatasetError(
                    f"{name} is no file or folder here, and no dataset of the catalogue of this master{near}"
                )
        for name, info in infos.items():
            if name not in self._known or self._known[name].info != info:
                self._known[name] = self[name]
        return dataset.resolved({name: self._known[name]._files for name in infos})

    # --- inside -------------------------------------------------------------------------------------------------------

    def _listed(self, of: CatalogueFiles, given: Dataset) -> _Files:
        """The files that there are, with what was said of those that had been listed before, or by another catalogue."""
        # Where files are not to be seen from here, they may be from workers.
        files = Dataset.of_files(of.given).expanded(partial(list_files, keep_missing=True)).files
        said = {it.file.path: it for it in given.told}
        return [
            CatalogueFile(file, said[file.path].size, said[file.path].checksum)
            if file.path in said
            else CatalogueFile(file)
            for file in files
        ]

    def _scanned(self, files: _Files, name: str) -> tuple[_Files, _Layouts]:
        """The files as workers have found them, and layouts of the first ones. Raises as `learnt`."""
        found = self._looked_at(files, name, "", layouts=True)
        known = learnt(files, found)
        layouts = [
            CatalogueLayout(it.file.path, it.file.tree, at_paths[0].layout)
            for it, at_paths in zip(known, found, strict=True)
            if at_paths[0].layout
        ]
        return known, layouts

    def _store(
        self, name: str, files: CatalogueFiles, replaces: int | None, layouts: Sequence[CatalogueLayout]
    ) -> CatalogueEntry:
        info = info_of(name, owner(), files.files)
        put = partial(messages.PutDataset, info=info, replaces=replaces)
        frames = [packed(files, name), *([msgspec.msgpack.encode(layouts)] if layouts else [])]
        answer, _ = self._request(put, messages.DatasetIs, frames)
        return CatalogueEntry(answer.info, files)

    def _looked_at(
        self, files: Sequence[CatalogueFile], name: str, checksum: str | bool, layouts: bool = False
    ) -> Looks:
        """What workers find at each path of each file, with the `layouts` of the first ones."""
        from ..reading.file_check import check_item

        wanted = copies(files)
        kinds = [_kind(files[number].checksum, checksum) for number, *_ in wanted]
        most = LARGEST_LAYOUTS // min(len(files), _DESCRIBED) if layouts and files else 0
        paths = [
            (at, path, tree, kind, most if path == files[number].file.path and number < _DESCRIBED else 0)
            for at, ((number, path, tree), kind) in enumerate(zip(wanted, kinds, strict=True))
        ]
        found = self._session.process(items(paths), check_item, name=f"look at {name}").result().value
        facts: Looks = [[] for _ in files]
        for at, (number, *_) in enumerate(wanted):
            facts[number].append(msgspec.msgpack.decode(found[at], type=FileFacts))
        return facts

    def _ask(self, names: Iterable[str] | None) -> Sequence[DatasetInfo]:
        ask = partial(messages.AskDatasets, names=None if names is None else [*names])
        answer, _ = self._request(ask, messages.Datasets)
        return answer.datasets

    def _request(
        self, make: Callable[[int], Message], expect: type[Answer], frames: Sequence[Buffer] = ()
    ) -> tuple[Answer, Sequence[Buffer]]:
        """Ask the master, and wait for its answer with the frames behind it.

        Raises:
            DatasetError: it refuses; the text says why.
            ConnectionFailed: it does not answer.
        """
        try:
            return self._session._watch.exchange(make, expect, frames)
        except QueryFailed as error:
            raise DatasetError(str(error)) from None


def _kind(registered: str, wanted: str | bool) -> str:
    """The kind of checksum that is to be made of a file."""
    if isinstance(wanted, str):
        return wanted
    return registered.partition(":")[0] if wanted else ""


def _check_plain(dataset: Dataset, name: str) -> None:
    """Raise `DatasetError` when a dataset has what an entry of a catalogue has not, since it is said where that is used, or
    what others must not see.
    """
    files = dataset.files
    for path in (path for file in files for path in (file.path, *file.replicas)):
        if has_secret(path):
            raise DatasetError(
                f"the address {shown(path).rpartition('@')[2]} has a token or password in it, and everybody "
                "who uses the master sees the catalogue: register it without, and give credentials to the session"
            )
    has = {
        "max_entries": dataset.max_entries is not None or bool(dataset.limits),
        "an entry list": dataset.has_entry_lists,
        "aliases, friends or defaults": dataset.has_columns,
        "a mask": bool(dataset.shared_inputs),
        "chunk": dataset.chunk is not None,
    }
    if files[0].kind != "tree":
        raise DatasetError(f"{dataset!r} is in no file, and cannot be registered")
    for what, there in has.items():
        if there:
            raise DatasetError(
                f"the dataset has {what}: register its files, and say so where they are used, em.Dataset({name!r}, ...)"
            )
