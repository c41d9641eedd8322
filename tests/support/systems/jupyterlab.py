"""A JupyterLab of the tests' own, and a headless Chromium that looks at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

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
    with _served(folder, "jupyterlab") as root:
        yield f"{root}/lab/tree/test.ipynb?token=secret"


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The root of a notebook server with jupyter-server-proxy, below a path as a hub has one for each user."""
    pytest.importorskip("jupyter_server_proxy")
    with _served(folder, "jupyter_server", "--ServerApp.base_url=/user/ann/") as root:
        yield f"{root}/user/ann"


@contextmanager
def _served(folder: Path, module: str, *options: str) -> Iterator[str]:
    """The address of a server that a module starts, which has its own settings in a folder."""
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", module, "--allow-root", "--no-browser", "--ip=127.0.0.1", "--port=0"),
            *("--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}", *options),
        ],
        env={**os.environ, **own, "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr as log:
        try:
            address = _address(log)
            reader = threading.Thread(target=log.read)  # what it says on is not to fill the pipe
            reader.start()
            try:
                yield address
            finally:
                process.terminate()
                reader.join()
        finally:
            process.terminate()
            process.wait()


def _address(log: IO[str]) -> str:
    """Where it listens, which it says."""
    said = []
    for line in log:
        said.append(line)
        if "http://127.0.0.1:" in line:
            return "{0.scheme}://{0.netloc}".format(urlparse(line[line.index("http://127.0.0.1:") :].strip()))
    raise AssertionError("JupyterLab has not started:\n" + "".join(said))


@contextmanager
def page(width: int = 1300, height: int = 1000, **options: Any) -> Iterator[Any]:
    """A page of a browser that fails the test where a script of it does."""
    if not CHROMIUM.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs chromium: apt-get install chromium")
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
