"""Links between the collections of an event, for columnar functions: ATLAS' ElementLinks, podio's relations, indices.

What is linked is not read: `follow` and `ranges` make arrays that say which records are meant, and whoever touches a field
of these reads its column. Where the lists of the target begin is all that is needed of it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import AnalysisError
from .podio_keys import MOST_NUMBERED, podio_key
from .virtual_arrays import countable

Key: TypeAlias = int | str
"""Of a collection: the number that links have, or its name."""
_FORMS = (("m_persIndex", "m_persKey"), ("index", "collectionID"))
"""What links call the number of the element, and the key of its collection: in ATLAS' xAOD, and in podio."""
_SHOWN = 5


def follow(links: ak.Array, target: ak.Array, key: Key | Collection[Key] | None = None) -> ak.Array:
    """What links point to.

    Args:
        links: one for each event, or lists of them to any depth: ElementLinks (`m_persKey`, `m_persIndex`), podio's object
            identifiers (`collectionID`, `index`), or whole numbers, as `Electron_jetIdx` of NanoAOD.
        target: the collection that they point into, or one of its columns, of the same events.
        key: of the target, as links have it (`m_persKey`, `collectionID`), or of podio's collections their name; several of
            them where parts of a file call it differently. Links with another key point elsewhere. To be given for links
            that have keys.

    Returns:
        In the place of each link, what it points to; None where that is another collection or nothing: another key, an index
        below 0 or not below the number of elements. Columns of the target are read when they are touched.

    Raises:
        AnalysisError: links and target are not of the same events, or are no such things, or a key is needed.

    Example:
        >>> jets = ak.Array([{"pt": [50.0, 40.0]}, {"pt": [30.0]}]).pt
        >>> follow(ak.Array([[1, -1], [0]]), jets).to_list()
        [[40.0, None], [30.0]]
        >>> tracks = follow(events.AnalysisElectronsAuxDyn.trackParticleLinks,
        ...                 events.GSFTrackParticlesAuxDyn, key=776133387)                        # doctest: +SKIP
        >>> ak.firsts(tracks.z0, axis=2)                                                          # doctest: +SKIP
        >>> follow(events._Recos_clusters, events.Clusters, key="Clusters")                       # doctest: +SKIP
    """
    indices, keys = _indices(links, key)
    shape = _shape(indices, "links", len(target))
    lists = _lists(target, "target")
    index = shape.values
    low, high = lists.starts[shape.events], lists.stops[shape.events]
    meant = (index >= 0) & (index < high - low)
    if keys is not None:
        its = _shape(keys, "links", len(target)).values
        wanted = [key] if isinstance(key, int | str | np.integer) else list(key or ())
        numbers = [_number(one, its, "collectionID" in ak.fields(links)) for one in wanted]
        meant &= np.isin(its, np.array(numbers, np.int64))
    chosen = ak.index.Index64(np.where(meant, low + index, -1))
    return shape.filled(ak.contents.IndexedOptionArray.simplified(chosen, lists.content), target)


def ranges(values: ak.Array, begin: ak.Array, end: ak.Array) -> ak.Array:
    """Of each element its range `[begin, end)` of what belongs to all elements of an event, as podio writes vectors of
    members and relations to several objects.

    Args:
        values: a list for each event.
        begin: where the range of each element begins in it: one number an event, or lists of them to any depth.
        end: where it ends.

    Returns:
        In the place of each number a list. Columns of the values are read when they are touched.

    Raises:
        AnalysisError: a range is not within the values of its event, or these are not of the same events.

    Example:
        >>> ranges(ak.Array([[1.5, 2.5, 3.5], [4.5]]), ak.Array([[0, 1], [0]]), ak.Array([[1, 3], [1]])).to_list()
        [[[1.5], [2.5, 3.5]], [[4.5]]]
        >>> clusters = follow(ranges(events._Recos_clusters, events.Recos.clusters_begin, events.Recos.clusters_end),
        ...                   events.Clusters, key=3131796986)                                    # doctest: +SKIP
    """
    first, last = _shape(begin, "begin", len(values)), _shape(end, "end", len(values))
    if not first.is_like(last):
        raise AnalysisError("em.ranges: begin and end are not of the same elements")
    lists = _lists(values, "values")
    low, high = lists.starts[first.events], lists.stops[first.events]
    some = first.values != last.values
    wrong = some & ((first.values < 0) | (last.values < first.values) | (last.values > high - low))
    if wrong.any():
        at = int(wrong.argmax())
        raise AnalysisError(
            f"em.ranges: a range [{first.values[at]}, {last.values[at]}) is not within the {(high - low)[at]} values of its "
            "event: these are other values, or the file is damaged"
        )
    starts, stops = (np.where(some, low + shape.values, 0) for shape in (first, last))
    return first.filled(ak.contents.ListArray(ak.index.Index64(starts), ak.index.Index64(stops), lists.content), values)


def _number(key: Key, keys: NDArray[np.int64], is_podios: bool) -> int:
    """The key of a collection as links have it.

    Args:
        key: the number, or the collection's name.
        keys: of all links.
        is_podios: they are podio's, which are of names.
    """
    if not isinstance(key, str):
        return int(key)
    if not is_podios:
        raise AnalysisError(
            f"em.follow: key={key!r} is a name, and the keys of these links are also of the class of what they point to: "
            "give the number, as m_branchHashes has it beside m_branchNames of EventFormat in the tree MetaData of a file"
        )
    if ((keys > 0) & (keys <= MOST_NUMBERED)).any():
        raise AnalysisError(
            f"em.follow: key={key!r} is a name, and this file, of podio before 0.17, numbers its collections: give the "
            "number, as the tree podio_metadata has it beside the name"
        )
    return podio_key(key)


class _Lists(NamedTuple):
    """Where the list of each event is in a content."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    content: Any


class _Shape(NamedTuple):
    """Whole numbers, one behind the other, with the event of each, and the lists that they were in."""

    values: NDArray[np.int64]
    events: NDArray[np.int64]
    offsets: list[Any]

    def is_like(self, other: _Shape) -> bool:
        """Whether both are in the same lists."""
        return len(self.offsets) == len(other.offsets) and all(map(np.array_equal, self.offsets, other.offsets))

    def filled(self, layout: Any, like: ak.Array) -> ak.Array:
        """An array with something in the place of each number."""
        for offsets in reversed(self.offsets):
            layout = ak.contents.ListOffsetArray(ak.index.Index64(offsets), layout)
        return ak.Array(layout, behavior=like.behavior)


def _indices(links: ak.Array, key: Key | Collection[Key] | None) -> tuple[ak.Array, ak.Array | None]:
    """The numbers of links, and their keys if they have some."""
    fields = ak.fields(links)
    for index, collection in _FORMS:
        if index in fields:
            if key is not None:
                return links[index], links[collection]
            found = np.unique(ak.to_numpy(ak.flatten(links[collection], axis=None)))
            shown = ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
            raise AnalysisError(
                f"em.follow: links may point into several collections, which their {collection} tells apart: say which is "
                f"meant, key=...; here are {shown or 'none'}"
            )
    if fields:
        raise AnalysisError(
            f"em.follow: records with the fields {', '.join(fields[:_SHOWN])} are no links that are known"
        )
    if key is not None:
        raise AnalysisError("em.follow: these links are numbers alone, without the key of a collection")
    return links, None


def _lists(array: ak.Array, what: str) -> _Lists:
    layout = array.layout
    while layout.is_indexed and not layout.is_option:  # chosen events
        layout = layout.project()
    layout = countable(layout)
    if not layout.is_list or layout.is_regular or layout.parameter("__array__") is not None:
        raise AnalysisError(f"the {what} is no list for each event, but of type {array.type.content}")
    starts, stops = (np.asarray(index.data[:], np.int64) for index in (layout.starts, layout.stops))
    return _Lists(starts, stops, layout.content)


def _shape(numbers: ak.Array, what: str, events: int) -> _Shape:
    layout = (
        ak.to_packed(ak.fill_none(numbers, -1, axis=-1)).layout
        if "?" in str(numbers.type)
        else ak.to_packed(numbers).layout
    )
    if len(layout) != events:
        raise AnalysisError(f"{what} and target are of {len(layout)} and {events} events: take both of the same")
    of, offsets = np.arange(len(layout)), []
    while layout.is_list:
        lists = layout.to_ListOffsetArray64(True)
        offsets.append(np.asarray(lists.offsets.data))
        of, layout = np.repeat(of, np.diff(offsets[-1])), lists.content[: int(lists.offsets[-1])]
    if layout.is_unknown:
        layout = ak.contents.NumpyArray(np.zeros(0, np.int64))
    if not layout.is_numpy or layout.data.dtype.kind not in "iu" or layout.data.ndim > 1:
        raise AnalysisError(f"{what} are no whole numbers, but of type {numbers.type.content}")
    return _Shape(np.asarray(layout.data).astype(np.int64), of, offsets)
