"""The files that came with a query, in a folder of a slot's owner, where the analysis opens them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from ...analysis import attachments
from ...analysis.sent_files import lie_in, name_of_set, place_of
from ...protocol.errors import AnalysisError
from ..cache_eviction import make_whole, tidy

_PART = ".unpacked-"
_OURS = re.compile(rf"[0-9a-f]{{40}}|{re.escape(_PART)}\w{{8}}")
_OFTEN = 600.0
"""Seconds between two looks at what could be removed: the folder is a worker's own."""


def unpack_files(digests: Mapping[str, str]) -> Path:
    """The folder with these files; another slot may have made it. They are the attachments themselves, not copies of them.

    Raises:
        AnalysisError: one is not on this worker, or there is no room.
    """
    place = _place.absolute()
    folder = place / name_of_set(digests)
    lie_in(place)

    def fill(part: Path) -> None:
        for name, digest in digests.items():
            file = part / place_of(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            _put(attachments.path_of(digest), file)

    try:
        made = make_whole(folder, _PART, fill)
    except OSError as error:
        raise AnalysisError(f"the files of the query are not on this worker: {error}; its log says more") from error
    if made:
        tidy(place, _OURS, often=_OFTEN)
    return folder


def _put(attachment: Path, file: Path) -> None:
    """A second name for an attachment, which nobody is to write to; a copy where that cannot be."""
    try:
        os.link(attachment, file)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(attachment, file)
    file.chmod(0o444)


_place = Path("files")


def keep_in(place: Path) -> None:
    """From now on the folders are made in this one."""
    global _place
    _place = place
