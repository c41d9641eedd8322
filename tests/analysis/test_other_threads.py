"""Packing an analysis looks at modules and what is in them, while other threads of the session import and set things."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

import numpy as np
import pytest
from eventmill.analysis.analysis import pack, unpack


def test_other_threads_may_import_and_set_what_they_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules come and go, and a module that the analysis uses gets and loses names: each packed one is whole."""
    own, stop = ModuleType("own_of_this_test"), threading.Event()
    own.__dict__["WEIGHT"] = 3
    monkeypatch.setitem(sys.modules, own.__name__, own)

    def meddle() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 500
            name = f"made_up_{number}"
            if sys.modules.pop(name, None) is None:
                sys.modules[name] = ModuleType(name)
            own.__dict__.pop(name, None) or own.__dict__.setdefault(name, number)
        for name in [name for name in sys.modules.copy() if name.startswith("made_up_")]:
            del sys.modules[name]

    def analysis(events: object) -> int:
        return int(np.sum(events)) * own.WEIGHT

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        packed = [pack(analysis, [], ()) for _ in range(10)]
    finally:
        stop.set()
        meddler.join()
        sys.setswitchinterval(interval)
    assert {unpack(it.blob)(np.arange(4)) for it in packed} == {18}
