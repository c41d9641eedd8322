"""From the user's Python to a partial result and back. For slots and sessions: an agent or a master only adds partials.

awkward and boost-histogram are imported when a value of theirs comes by, and not before.
"""

from __future__ import annotations

import collections
import enum
import itertools
import math
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.cutflow import Cutflow
from ..analysis.writes import Write
from ..protocol.errors import AnalysisError, MergeError
from . import nodes
from .held_rows import rows_of
from .histograms import FilledHistogram, histogram, histogram_node
from .nodes import MAX_DEPTH, SUMMABLE, Cells, Key, Part, Tree, Unmergeable, widened
from .objects import has_own_rule, merged_parts, refusal, type_name
from .output_files import OutputFiles
from .partial import Partial
from .sketch_bins import drawn
from .sketches import Sketch
from .sums import AWKWARD_LIMIT, RULES

if TYPE_CHECKING:
    import awkward as ak

Files = Callable[[nodes.Written], object]
_BUILTIN = (int, float, complex, str, bytes, dict, list, set, frozenset)
_PLAIN = frozenset({*_BUILTIN, collections.Counter, collections.defaultdict})
_ARRAYS = (np.ndarray, np.memmap)  # other kinds of arrays have a meaning of their own: masks, units, algebra


def encode(value: object, entries: int = 0) -> Partial:
    """What an analysis returned for so many entries, ready to be merged. Arrays and histograms are copied.

    Objects of the user's own classes are not, see `detached`.

    Raises MergeError, which says where in `value`, when something in it cannot be merged.

    Example::

        encode({"mass": Hist.new.Reg(100, 0, 200).Double().fill(m), "passed": len(m)}, entries=len(events))
    """
    try:
        return Partial(_tree(value, 0), entries)
    except Unmergeable as refusal:
        raise refusal.error() from refusal.__cause__


def decode(partial: Partial, files: Files = OutputFiles) -> object:
    """The Python value of a partial result; unpickles what was pickled, so only for processes that trust their workers.

    Rows that were written are what `files` makes of them. Raises MergeError when the user's own `merge` or `+` fails.
    """
    try:
        return _value(partial.tree, files)
    except Unmergeable as refusal:
        raise refusal.error() from refusal.__cause__


def compact(partial: Partial) -> Partial:
    """The same result, of as many entries: each of the user's objects in one part and each awkward array in one chunk.

    Runs the user's code, so in a slot. Raises MergeError when that fails.
    """
    try:
        return Partial(_compacted(partial.tree), partial.entries)
    except Unmergeable as refusal:
        raise refusal.error() from refusal.__cause__


def detached(partial: Partial) -> Partial:
    """The same result, with copies of the user's objects: what user code does to them later does not change it.

    Raises MergeError when one cannot be pickled.
    """
    for node in nodes.walk(partial.tree):
        if isinstance(node, nodes.Pickled):
            node.parts[:] = [part.detached() for part in node.parts]
    return partial


def keyed(partials: Mapping[str, Partial], entries: int) -> Partial:
    """What some partial results of the same entries are as the values of a dict; nothing, if all of them are nothing.

    Example:
        >>> decode(keyed({"nominal": encode(1, 10), "up": encode(2, 10)}, entries=10))
        {'nominal': 1, 'up': 2}
    """
    trees: dict[Key, Tree] = {name: partial.tree for name, partial in partials.items()}
    if all(isinstance(tree, nodes.Nothing) for tree in trees.values()):
        return Partial(nodes.Nothing(), entries)
    return Partial(nodes.Dict(trees), entries)


def beside(partial: Partial, more: Partial) -> Partial:
    """A result of dicts with what another has, of the same entries, under keys that it lacks.

    Example:
        >>> decode(beside(encode({"up": {"n": 1}}, 10), encode({"up": {"rows": 2}})))
        {'up': {'n': 1, 'rows': 2}}
    """
    return Partial(_beside(partial.tree, more.tree), partial.entries)


def _beside(tree: Tree, more: Tree) -> Tree:
    if isinstance(more, nodes.Nothing):
        return tree
    if not isinstance(tree, nodes.Dict) or not isinstance(more, nodes.Dict):
        return more
    joined = {key: _beside(item, more.items.get(key, nodes.Nothing())) for key, item in tree.items.items()}
    return nodes.Dict({**joined, **{key: item for key, item in more.items.items() if key not in joined}})


def _tree(value: Any, level: int) -> Tree:
    if level > MAX_DEPTH:
        raise Unmergeable(f"containers nested deeper than {MAX_DEPTH}")
    if value is None:
        return nodes.Nothing()
    if isinstance(value, bool | np.bool_):
        return nodes.Constant(bool(value))
    kind: type = type(value)
    if kind not in _PLAIN and isinstance(value, _BUILTIN) and has_own_rule(kind):
        return _foreign(value)
    if _is_number(value):
        return _number(value)
    if isinstance(value, str):
        return nodes.Constant(_text(value))
    if isinstance(value, bytes):
        return nodes.Binary(bytes(value))
    if type(value) in _ARRAYS:
        return _array(value)
    if isinstance(value, FilledHistogram):
        return _located(lambda: value.template.node(value.array, value.variance_known))
    if isinstance(value, Cutflow):
        return _cutflow(value)
    if isinstance(value, Sketch):
        return nodes.Sketched(value)
    if isinstance(value, Write):
        return rows_of(value)
    if isinstance(value, dict | list | set | frozenset) or type(value) is tuple:
        return _container(value, level)
    return _foreign(value)


def _container(value: Any, level: int) -> Tree:
    if isinstance(value, collections.Counter):
        return nodes.Counter({_key(key): _counted(key, count) for key, count in value.items()})
    if isinstance(value, dict):
        return nodes.Dict({_key(key): _inside(key, item, level) for key, item in value.items()})
    if isinstance(value, set | frozenset):
        return nodes.Set(tuple([_key(item) for item in value]))
    kind = nodes.Tuple if isinstance(value, tuple) else nodes.List
    return kind([_inside(position, item, level) for position, item in enumerate(value)])


def _inside(key: object, item: object, level: int) -> Tree:
    try:
        return _tree(item, level + 1)
    except Unmergeable as error:
        error.inside(key)
        raise


def _cutflow(value: Cutflow) -> nodes.Cutflow:
    try:
        summed = value.summed
    except AnalysisError as error:
        raise Unmergeable(str(error)) from error
    return nodes.Cutflow(summed.names, summed.counts.copy(), summed.sums.copy())


def _located(make: Callable[[], nodes.Histogram]) -> nodes.Histogram:
    try:
        return make()
    except MergeError as error:
        raise Unmergeable(str(error)) from error


def _is_number(value: object) -> bool:
    """An int, float or complex of Python or numpy; not a duration, which numpy has among its integers."""
    if isinstance(value, np.generic):
        return value.dtype.kind in "iufc"
    return isinstance(value, int | float | complex) and not isinstance(value, enum.Enum)  # names have no sum


def _text(value: str) -> str:
    """The characters of a str: of an Enum's word, too, which `str` gives as its name."""
    return value if type(value) is str else str.__str__(value)


def _number(value: Any) -> nodes.Number:
    if isinstance(value, int | np.integer):
        return nodes.Number.of(int(value))
    if isinstance(value, float | np.floating):
        return nodes.Number.of(float(value))
    return nodes.Number.of(complex(value))


def _counted(key: object, count: object) -> nodes.Number:
    if isinstance(count, bool) or not _is_number(count):
        error = Unmergeable(f"a collections.Counter counts with numbers, not with {type_name(count)}")
        error.inside(key)
        raise error
    return _number(count)


def result_key(key: Any) -> list[Key]:
    """The key of a dict in a result that a user means by this; none if there can be none such.

    Example:
        >>> result_key("mass"), result_key(np.int64(3)), result_key(slice(2))
        (['mass'], [3], [])
    """
    try:
        return [_key(key)]
    except Unmergeable:
        return []


def _key(key: Any) -> Key:
    if isinstance(key, np.generic):
        key = key.item()
    if isinstance(key, str):
        return _text(key)
    if isinstance(key, tuple):
        if any(isinstance(part, tuple) and any(isinstance(word, tuple) for word in part) for part in key):
            raise Unmergeable(f"the key {key!r} is nested too deep; a tuple may hold tuples, but those no more tuples")
        words: tuple[Any, ...] = tuple([_key(part) for part in key])
        return words
    if isinstance(key, int) and not -(2**63) <= key < 2**63:
        raise Unmergeable(f"the key {key} does not fit into 64 bits")
    if isinstance(key, float) and math.isnan(key):
        raise Unmergeable(
            "the key nan equals no other key, not even itself, so that each packet's would stay apart: use a word instead"
        )
    if key is None or isinstance(key, bool):
        return key
    if isinstance(key, int | float):
        return int(key) if isinstance(key, int) else float(key)  # what an Enum or the like stands for
    raise Unmergeable(f"the key {key!r} is a {type_name(key)}; keys are str, int, bool, float, None or tuples of those")


def _array(value: Cells) -> nodes.Array:
    wide = widened(value.dtype)
    if wide is None:
        known = ", ".join(sorted(map(str, SUMMABLE)))
        raise Unmergeable(f"a numpy array of {value.dtype} cannot be summed; these, and narrower ones, can: {known}")
    data = np.array(value, wide, order="C", subok=False)
    data.flags.writeable = False
    return nodes.Array(data)


def _foreign(value: Any) -> Tree:
    if _is_a(value, "boost_histogram", "Histogram"):
        return _located(lambda: histogram_node(value))
    if _is_a(value, "awkward", "Array"):
        return _awkward(value)
    if _is_a(value, "awkward", "Record"):
        raise Unmergeable("a single awkward record; return an awkward array, or a dict to have its numbers summed")
    reason = refusal(value)
    if reason is None:
        return nodes.Pickled(type_name(value), [Part(live=value)])
    table = "\n".join(f"  {rule.python}: {rule.how}" for rule in RULES)
    raise Unmergeable(f"{reason}. What can be merged, and how:\n{table}")


def _is_a(value: object, module: str, name: str) -> bool:
    """Whether `value` is of the class `module.name`, without importing the module: it is there if a value of it is."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _awkward(array: ak.Array) -> nodes.Awkward:
    import awkward as ak

    array = ak.materialize(array)
    if "categorical" in array.layout.form.to_json():  # awkward joins no arrays whose categories differ
        array = ak.from_categorical(array)
    form, length, container = ak.to_buffers(ak.to_packed(array), backend="cpu")
    buffers = [np.ascontiguousarray(buffer).reshape(-1).view(np.uint8) for buffer in container.values()]
    data = np.concatenate(buffers) if buffers else np.empty(0, np.uint8)
    if data.nbytes > AWKWARD_LIMIT:
        raise Unmergeable(
            f"an awkward array of {data.nbytes >> 20} MiB; the limit is {AWKWARD_LIMIT >> 20} MiB, all packets together: "
            "fill histograms instead, or write the rows to files: em.write(array, folder) in its place"
        )
    data.flags.writeable = False
    block = nodes.Block([nodes.Chunk(0, length, tuple(buffer.size for buffer in buffers))], data)
    return nodes.Awkward([nodes.Group(form.to_json(), tuple(container), [block])])


def _value(tree: Tree, files: Files) -> Any:
    match tree:
        case nodes.Nothing():
            return None
        case nodes.Constant(value=value) | nodes.Binary(value=value):
            return value
        case nodes.Number():
            return tree.number
        case nodes.Array(data=data):
            return data.copy() if data.ndim else data[()]
        case nodes.Cutflow(names=names, counts=cells, sums=sums):
            return Cutflow.of_sums(names, cells.copy(), sums.copy())
        case nodes.Counter(counts=counts):
            return collections.Counter({key: count.number for key, count in counts.items()})
        case nodes.Set(items=items):
            return set(items)
        case nodes.List(items=branches):
            return [_decoded(position, branch, files) for position, branch in enumerate(branches)]
        case nodes.Tuple(items=branches):
            return tuple([_decoded(position, branch, files) for position, branch in enumerate(branches)])
        case nodes.Dict(items=named):
            return {key: _decoded(key, branch, files) for key, branch in named.items()}
        case nodes.Awkward():
            return _awkward_array(tree)
        case nodes.Histogram():
            return histogram(tree)
        case nodes.Sketched(sketch=sketch):
            return drawn(sketch)
        case nodes.Pickled(parts=parts):
            return merged_parts(parts)
        case nodes.Written():
            return files(tree)
        case nodes.Rows():
            raise Unmergeable("rows that are in no file")  # they never leave their slot


def _decoded(key: Key, tree: Tree, files: Files) -> Any:
    try:
        return _value(tree, files)
    except Unmergeable as error:
        error.inside(key)
        raise


def _awkward_array(node: nodes.Awkward) -> ak.Array:
    import awkward as ak

    placed = {
        chunk.place: ak.from_buffers(group.form, chunk.length, buffers)
        for group in node.groups
        for block in group.blocks
        for chunk, buffers in _chunks(group.keys, block)
    }
    arrays = [placed[place] for place in range(len(placed))]
    # one without entries has nothing to say of types: np.array([]) is of float64 whatever it was meant to hold
    arrays = [array for array in arrays if len(array)] or arrays[:1]
    if len(arrays) == 1:
        return arrays[0]
    try:
        joined = ak.concatenate(arrays)
    except Exception as error:  # awkward's own, of many kinds
        kinds = " and ".join(sorted({str(array.type.content) for array in arrays}))
        raise Unmergeable(f"awkward arrays of {kinds} cannot be joined: {error}") from error
    if len(node.groups) > 1:
        _check_exact(arrays, joined)
    return joined


def _check_exact(arrays: list[ak.Array], joined: ak.Array) -> None:
    """Refuse what joining has rounded: whole numbers beyond 2^53 beside floats, or beside unsigned ones."""
    start = 0
    for array in arrays:
        part, start = joined[start : start + len(array)], start + len(array)
        for mine, theirs in zip(_numbers(array), _numbers(part), strict=False):
            if mine.dtype.kind in "iu" and theirs.dtype.kind == "f" and np.any(np.abs(mine.astype(float)) >= 2.0**53):
                raise Unmergeable(
                    f"awkward arrays of {mine.dtype} in one packet and of another type in another, which would round "
                    "its large numbers: give them one type in every packet, with ak.values_astype"
                )


def _numbers(array: ak.Array) -> list[Cells]:
    import awkward as ak

    _, _, container = ak.to_buffers(ak.to_packed(array))
    return [values for key, values in container.items() if key.endswith("-data")]


def _chunks(keys: tuple[str, ...], block: nodes.Block) -> list[tuple[nodes.Chunk, Mapping[str, Cells]]]:
    cut: list[tuple[nodes.Chunk, Mapping[str, Cells]]] = []
    start = 0
    for chunk in block.chunks:
        stops = start + np.cumsum((0, *chunk.sizes))
        # copied, because awkward's kernels need them aligned
        buffers = [block.data[low:high].copy() for low, high in itertools.pairwise(stops)]
        cut.append((chunk, dict(zip(keys, buffers, strict=True))))
        start = int(stops[-1])
    return cut


def _compacted(tree: Tree) -> Tree:
    match tree:
        case nodes.List(items=branches):
            return nodes.List([_compacted_inside(position, branch) for position, branch in enumerate(branches)])
        case nodes.Tuple(items=branches):
            return nodes.Tuple([_compacted_inside(position, branch) for position, branch in enumerate(branches)])
        case nodes.Dict(items=named):
            return nodes.Dict({key: _compacted_inside(key, branch) for key, branch in named.items()})
        case nodes.Pickled(type_name=name, parts=parts) if len(parts) > 1:
            return nodes.Pickled(name, [Part(live=merged_parts(parts))])
        case nodes.Awkward():
            return _awkward(_awkward_array(tree))
    return tree


def _compacted_inside(key: Key, tree: Tree) -> Tree:
    try:
        return _compacted(tree)
    except Unmergeable as error:
        error.inside(key)
        raise
