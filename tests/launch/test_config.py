"""`pools.toml`: what is wrong in it is told at once, with the file, the pool and the key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from eventmill.launch.config import load, save
from eventmill.launch.pools.local_processes import Local
from eventmill.launch.pools.slurm import Slurm
from eventmill.protocol.errors import EventmillError


def write(folder: Path, text: str) -> Path:
    path = folder / "pools.toml"
    path.write_text(text)
    return path


def test_pools_are_read(tmp_path: Path) -> None:
    """Of several systems, each with its own settings and those of all."""
    path = write(
        tmp_path, '[here]\nsystem = "local"\ncores = 2\n[night]\nsystem = "slurm"\npartition = "short"\nwalltime = "2h"'
    )
    assert load(path) == {"here": Local(cores=2), "night": Slurm(partition="short", walltime="2h")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no pools"),
        ("[night", "not written as TOML is"),
        ("night = 3", "pool night is no table of settings"),
        ("[night]\ncores = 2", "pool night has no system: it is one of local, slurm"),
        ('[night]\nsystem = "slrum"', "pool night has the unknown system 'slrum'"),
        ('[night]\nsystem = "slurm"\npartitoin = "short"', "no setting 'partitoin'; the nearest names are partition"),
        ('[night]\nsystem = "local"\ncores = "two"', "pool night: cores = 'two': Expected `int`, got `str`"),
        ('[night]\nsystem = "local"\ncores = 0', "pool night: cores = 0: Expected `int` >= 1"),
        ('[night]\nsystem = "local"\nsetup = [1]', "pool night: setup"),
        ('[night]\nsystem = "local"\nwalltime = "2 parsecs"', "'2 parsecs' is no time"),
        ('[night]\nsystem = "local"\nmemory = "4"', "'4' is no amount of memory"),
        ('["no name"]\nsystem = "local"', "a pool's name begins with a letter"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    """A setting that was not taken is not noticed by anybody for an hour."""
    path = write(tmp_path, text)
    with pytest.raises(EventmillError) as raised:
        load(path)
    assert words in str(raised.value) and str(path) in str(raised.value)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(EventmillError, match="cannot read the pools"):
        load(tmp_path / "pools.toml")


def test_what_a_session_writes_is_for_nobody_else(tmp_path: Path) -> None:
    """Settings may have names of accounts in them; and they come back as they were."""
    pools = {"night": Slurm(partition="short", setup=["module load python"])}
    path = tmp_path / "pools.json"
    save(pools, path)
    assert load(path) == pools and stat.S_IMODE(path.stat().st_mode) == 0o600
