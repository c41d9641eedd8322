"""Real files of experiments: the samples in coffea's source distribution, fetched from the package index once.

`python -m benchmarks.coffea_samples` fetches them if they are not there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import platformdirs

COFFEA = "coffea==2026.9.0"
FETCH_SECONDS = 100
FOLDER = "EVENTMILL_SAMPLES"
"""The environment variable with the folder, where it is not in the user's cache folder."""


def samples_folder() -> Path:
    """Where the samples are, or will be."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER])
    return platformdirs.user_cache_path("eventmill") / "samples" / COFFEA.replace("==", "-")


def coffea_samples() -> Path:
    """The folder with the samples; downloads 30 MB if it is not there yet.

    Raises:
        RuntimeError: they cannot be downloaded.
    """
    folder = samples_folder()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", "coffea", "--dest", temporary, COFFEA]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"cannot download the samples of {COFFEA}: {done.stderr.strip()[-300:]}")
        unpacked = Path(temporary) / "samples"
        unpacked.mkdir()
        with tarfile.open(next(Path(temporary).glob("coffea-*.tar.gz"))) as archive:
            for member in archive:
                path = Path(member.name)
                content = archive.extractfile(member) if path.match("tests/samples/*.root") else None
                if content is not None:
                    with content, (unpacked / path.name).open("wb") as file:
                        shutil.copyfileobj(content, file)
        unpacked.replace(folder)
    return folder


if __name__ == "__main__":
    try:
        coffea_samples()
    except RuntimeError as error:
        sys.exit(str(error))
