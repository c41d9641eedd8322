"""The site of a worker: what `eventmill worker` makes of its option and of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.protocol.connection import make_keys
from eventmill.worker.agent import forkserver_client, serve


@pytest.mark.parametrize(
    ("options", "environment", "site"),
    [
        ([], {}, ""),
        ([], {"GLIDEIN_CMSSite": "T2_DE_DESY", "GLIDEIN_Site": "DESY"}, "T2_DE_DESY"),
        ([], {"EVENTMILL_SITE": "ours", "OSG_SITE_NAME": "theirs"}, "ours"),
        (["--site", "Roma "], {"EVENTMILL_SITE": "ours"}, "Roma"),
    ],
)
def test_a_worker_says_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], environment: dict[str, str], site: str
) -> None:
    """Reports called it the domain of its host, whatever the batch system knew: on a grid that is a hundred names a site."""
    told: list[dict[str, Any]] = []

    class Worker:
        def __init__(self, *_: object, **options: Any) -> None:
            told.append(options)

        def run(self) -> None: ...

    monkeypatch.setattr(serve, "Worker", Worker)
    monkeypatch.setattr(forkserver_client, "ForkserverClient", lambda **_: None)
    make_keys(tmp_path, "tcp://localhost:1")
    unset = dict.fromkeys(["EVENTMILL_SITE", "GLIDEIN_CMSSite", "OSG_SITE_NAME", "GLIDEIN_Site"])
    done = CliRunner().invoke(main, ["worker", str(tmp_path / "worker.json"), *options], env=unset | environment)
    assert (done.exit_code, done.output) == (0, "")
    assert told[0]["site"] == site


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "\x1b[31mred"])
def test_a_site_that_cannot_be_shown_is_refused(name: str) -> None:
    done = CliRunner().invoke(main, ["worker", "nobody", "--site", name])
    assert done.exit_code == 2 and "names no site" in done.output
