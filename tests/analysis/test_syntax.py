"""Code is parsed right when several threads do it."""

from __future__ import annotations

import ast
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eventmill.analysis.syntax import parsed_module


def test_threads_parse_at_the_same_time() -> None:
    """Before Python 3.11.5 `ast.parse` alone raises a SystemError here, sooner or later."""
    source = Path(ast.__file__).read_bytes()
    before = gc.get_threshold()

    def pause(*_: object) -> None:
        time.sleep(0)  # lets other threads run

    gc.callbacks.append(pause)
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor(2) as threads:
            trees = list(threads.map(parsed_module, [source] * 6))
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(pause)
    assert len({ast.dump(tree) for tree in trees}) == 1
