"""What merges and how: results of packets as typed trees that add up without running the user's code.

A slot encodes what its analysis returned and adds it to a `Total`; agent and master add up what comes out of it; the
session decodes. Only `encode`, `detached`, `decode` and `compact` touch the user's objects. See docs/merging.md.
"""

from .encode import beside, compact, decode, detached, encode, keyed, result_key
from .histograms import FilledHistogram, HistogramTemplate
from .keys import keys_in, keys_packed
from .miniature import miniature
from .names import joined, key_name
from .opened import Opened, Unmade, opened
from .output_files import OutputFiles
from .partial import Partial, entries_in
from .plain import Opaque, plain
from .sparse import dense_sizes
from .total import Total

__all__ = [
    "FilledHistogram",
    "HistogramTemplate",
    "Opaque",
    "Opened",
    "OutputFiles",
    "Partial",
    "Total",
    "Unmade",
    "beside",
    "compact",
    "decode",
    "dense_sizes",
    "detached",
    "encode",
    "entries_in",
    "joined",
    "key_name",
    "keyed",
    "keys_in",
    "keys_packed",
    "miniature",
    "opened",
    "plain",
    "result_key",
]
