"""A JupyterLab of the tests' own, and a headless Chromium that looks at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
SECONDS = 60_000
"""Milliseconds that anything may take on a busy machine."""
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@contextmanager
def lab(folder: Path, cells: Sequence[str]) -> Iterator[str]:
    """The address of a notebook with these cells, in a JupyterLab that serves this folder and has its own settings."""
    pytest.importorskip("jupyterlab")
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"c{at}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": cell,
            }
            for at, cell in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "test.ipynb").write_text(json.dumps(notebook))
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--ip=127.0.0.1", "--port=0"),
            *("--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}"),
        ],
        env={**os.environ, **own, "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        yield f"{_address(server.stderr)}/lab/tree/test.ipynb?token=secret"
    finally:
        server.terminate()
        server.communicate()


def _address(log: IO[str]) -> str:
    """Where it listens, which it says."""
    said = []
    for line in log:
        said.append(line)
        if "http://127.0.0.1:" in line:
            return line[line.index("http://127.0.0.1:") :].split("/lab")[0]
    raise AssertionError("JupyterLab has not started:\n" + "".join(said))


@contextmanager
def page(width: int = 1300, height: int = 1000, **options: Any) -> Iterator[Any]:
    """A page of a browser that fails the test where a script of it does."""
    if not CHROMIUM.exists():
        pytest.skip("needs chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(_FLAGS))
        made = browser.new_page(viewport={"width": width, "height": height}, **options)
        made.set_default_timeout(SECONDS)
        errors: list[str] = []
        made.on("pageerror", lambda error: errors.append(str(error)))
        try:
            yield made
        finally:
            browser.close()
        assert not errors, errors
