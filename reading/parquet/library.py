"""pyarrow, which reads Parquet, and is an extra: what to do where it is not installed."""

from __future__ import annotations

import socket
from typing import Any

from ...protocol.errors import DatasetError


def arrow(path: str) -> Any:
    """pyarrow, with its module `parquet`, and awkward's types made known to it.

    Args:
        path: of the file that is to be read, for the error.

    Raises:
        DatasetError: it is not installed where this runs.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DatasetError(
            f"{path} is of Parquet, which takes pyarrow, and {socket.gethostname()} has none: install it where workers run, "
            "pip install 'eventmill[parquet]'"
        ) from error
    import awkward._connect.pyarrow  # noqa: F401  # which has awkward's own types, as ak.to_parquet(extensionarray=True) writes

    return pyarrow
