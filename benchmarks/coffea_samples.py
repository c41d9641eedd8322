"""Real files of experiments: the samples in coffea's source distribution, fetched from the package index once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import platformdirs

COFFEA = "coffea==2026.9.0"
FETCH_SECONDS = 100


def coffea_samples() -> Path:
    """The folder with the samples, in the user's cache folder; downloads 30 MB if it is not there yet.

    Raises:
        RuntimeError: they cannot be downloaded.
    """
    folder = platformdirs.user_cache_path("eventmill") / "samples" / COFFEA.replace("==", "-")
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
