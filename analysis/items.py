"""The items of a dataset as they travel: pickled one by one, behind a table, so that one is read without the others.

The table is 64-bit numbers, little-endian: how many items there are, then where each pickle begins, counted from the
first one, and where the last one ends.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..protocol.codec import MAX_FRAME, Buffer
from ..protocol.errors import DatasetError
from .pickles import pickling

_NUMBER = np.dtype("<u8")


def pack_items(things: Iterable[Any]) -> bytes:
    """The items as they travel; what they need of the user's own modules goes along.

    Raises:
        DatasetError: one of them cannot be pickled, or all of them are too large to be sent.
    """
    things, pickles, ends = list(things), list[bytes](), [0]
    with pickling() as pickled:
        for index, thing in enumerate(things):
            try:
                pickles.append(pickled(thing))
            except Exception as error:  # whatever an object raises that cannot be pickled
                raise DatasetError(
                    f"item {index} ({type(thing).__name__}) cannot be sent to the workers: {error}; "
                    "give what it is made from, such as the path of a file, and make it in the function"
                ) from error
            ends.append(ends[-1] + len(pickles[-1]))
            if ends[-1] + _NUMBER.itemsize * (len(things) + 2) > MAX_FRAME:
                raise DatasetError(
                    f"the items take more than {MAX_FRAME / 2**30:.0f} GiB, the first {index + 1} of {len(things)} alone: "
                    "put them into files that the workers can read, and give their paths"
                )
    return b"".join([np.array([len(things), *ends], _NUMBER).tobytes(), *pickles])


class PackedItems:
    """Items that have travelled. One is unpickled when it is asked for, in a slot only: this runs code that came with it.

    Example:
        >>> packed = PackedItems(pack_items(["a.fits", "b.fits"]))
        >>> len(packed), packed[1]
        (2, 'b.fits')
    """

    def __init__(self, buffer: Buffer) -> None:
        (count,) = np.frombuffer(buffer, _NUMBER, 1)
        self._ends = np.frombuffer(buffer, _NUMBER, int(count) + 1, offset=_NUMBER.itemsize)
        self._pickles = memoryview(buffer)[_NUMBER.itemsize * (int(count) + 2) :]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Any:
        """Item `index`, made anew each time; raises what unpickling it raises."""
        return pickle.loads(self._pickles[self._ends[index] : self._ends[index + 1]])

    def size(self, index: int) -> int:
        """Bytes that an item takes, pickled."""
        return int(self._ends[index + 1] - self._ends[index])
