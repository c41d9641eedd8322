"""Where the user's code is, as a notebook shows it: `Cell In[4]`, where Python has it in `/tmp/ipykernel_7/123.py`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

COMPILED = "<compiled "
"""How the names begin under which compiled code of the user's is known to Python."""
_cells: dict[str, str] = {}


def running_shell() -> Any:
    """The IPython that this process is, of a notebook or a terminal; None where it is none."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def cells(files: Iterable[str]) -> dict[str, str]:
    """The names of those of the files that are cells of the notebook, or inputs of the IPython, that this process is."""
    name_of = getattr(getattr(running_shell(), "compile", None), "format_code_name", None)  # IPython 8.1 and later
    if name_of is None:
        return {}
    named = {file: name_of(file) for file in files}
    return {file: " ".join(name) for file, name in named.items() if name}


def call_cells(named: dict[str, str]) -> None:
    """From now on these files are called so in `shown`."""
    _cells.update(named)


def shown(text: str) -> str:
    """A text about files in which cells have their names, as `Cell In[4], line 3`.

    Example:
        >>> call_cells({"/tmp/ipykernel_7/123.py": "Cell In[4]"})
        >>> shown('File "/tmp/ipykernel_7/123.py", line 3, in f'), shown("/tmp/ipykernel_7/123.py:3: x = 1 / n")
        ('Cell In[4], line 3, in f', 'Cell In[4], line 3: x = 1 / n')
    """
    for file, name in _cells.items():
        if file in text:
            text = text.replace(f'File "{file}"', name)
            text = re.sub(rf"{re.escape(file)}:(\d+)", rf"{name}, line \1", text)
    return text
