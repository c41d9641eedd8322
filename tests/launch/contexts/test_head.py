"""The user-data of a head, and what of this machine goes with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from eventmill.launch.config import parse
from eventmill.launch.contexts.cloud_config import ContextError
from eventmill.launch.contexts.files import load_context, parse_context, taken_along
from eventmill.launch.contexts.head import Cache, HeadContext, head_user_data
from eventmill.launch.contexts.worker import WorkerContext
from eventmill.launch.pools.local_processes import Local
from eventmill.launch.pools.pool import Pool
from eventmill.launch.pools.ssh import SSH

KEYS = {"master.json": "the master's", "client.json": "the client's", "worker.json": "the worker's"}


def files_of(user_data: str) -> dict[str, str]:
    """The content of what cloud-init is to write, by its place."""
    entries = yaml.safe_load(user_data)["write_files"]
    secret = [entry for entry in entries if "/given/" in entry["path"]]
    assert all(entry["permissions"] == "0600" and entry["owner"] == "root:root" for entry in secret)
    return {entry["path"].removeprefix("/var/lib/eventmill/"): entry["content"] for entry in entries}


def test_keys_pools_and_credentials_are_for_the_user_of_the_master_alone() -> None:
    pools = {"here": Local(most=3)}
    files = files_of(head_user_data(HeadContext(), "lab", KEYS, pools, {"credentials-x": "secret"}))
    assert files["given/keys/master.json"] == "the master's"
    assert files["given/credentials-x"] == "secret"
    assert json.loads(files["given/pools.json"]) == {"here": {"system": "local", "most": 3}}
    for script in ("begin", "boot", "prepare", "run"):
        subprocess.run(["bash", "-n"], input=files[script], text=True, check=True, timeout=20)
        assert "secret" not in files[script]


def test_settings_of_pools_come_to_the_head_as_they_are() -> None:
    """Only those that are not what is usual are written, and all are there again when they are read."""
    pool = SSH(hosts={"node1": 2}, cores=4, setup=["source x.sh"], idle=7.0, memory="4G")
    files = files_of(head_user_data(HeadContext(), "lab", KEYS, {"hosts": pool}))
    assert parse(json.loads(files["given/pools.json"]), "pools.json") == {"hosts": pool}


def test_workers_read_through_the_heads_cache_unless_their_pool_says_otherwise() -> None:
    context = HeadContext(cache=Cache(origin="root.site", port=2094))
    pools = {"a": Local(), "b": Local(proxy_prefix="root://other.site:1094//")}
    files = files_of(head_user_data(context, "lab", KEYS, pools))
    told = json.loads(files["given/pools.json"])
    assert told["a"]["proxy_prefix"] == "root://@head@:2094//"
    assert told["b"]["proxy_prefix"] == "root://other.site:1094//"
    assert "pss.permit root.site\n" in files["given/cache.cfg"]


def test_a_head_takes_the_credentials_of_clouds_along(tmp_path: Path) -> None:
    class Made(Pool, frozen=True, kw_only=True, tag="made"):
        credentials: str = ""

    file = tmp_path / "openrc.sh"
    file.write_text("export OS_PASSWORD=secret\n")
    file.chmod(0o600)
    pools, files = taken_along({"cloud": Made(credentials=str(file)), "here": Local()})
    assert files == {"credentials-cloud": "export OS_PASSWORD=secret\n"}
    assert isinstance(pools["cloud"], Made)
    assert pools["cloud"].credentials == "/var/lib/eventmill/home/credentials-cloud"
    with pytest.raises(ContextError, match="pool cloud: a head has none of the credentials in this environment"):
        taken_along({"cloud": Made()})
    file.chmod(0o644)
    with pytest.raises(ContextError, match="can be read by others"):
        taken_along({"cloud": Made(credentials=str(file))})


def test_a_misspelt_key_is_named_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "context.toml"
    file.write_text('cvfms = ["cms.cern.ch"]\n')
    with pytest.raises(ContextError, match=r"context\.toml: no setting 'cvfms'; the nearest names are cvmfs"):
        load_context(file, WorkerContext)
    file.write_text("port = 0\n")
    with pytest.raises(ContextError, match=r"context\.toml: port = 0: Expected `int` >= 1"):
        load_context(file, HeadContext)
    with pytest.raises(ContextError, match=r"origin"):
        parse_context({"cache": {"origin": "root.site; rm"}}, HeadContext, "x")
