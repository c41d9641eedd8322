"""The user-data of a worker, as text: what is in them, what is refused, what they weigh; cloud-init reads them elsewhere."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from eventmill.launch.contexts.cloud_config import ContextError, fitted
from eventmill.launch.contexts.worker import WorkerContext, lone_script, worker_script, worker_user_data
from eventmill.launch.pools.pool import Assignment, Pool
from hypothesis import example, given
from hypothesis import strategies as st

TOKEN = "eventmill-token-1-" + "s" * 150
ASSIGNMENT = Assignment("night", Path("/here/token"), Path("/here"), "eventmill-night-1")


def files_of(user_data: str) -> dict[str, dict[str, Any]]:
    """What cloud-init is to write, by the names of the files."""
    assert user_data.startswith("#cloud-config\n")
    return {Path(entry["path"]).name: entry for entry in yaml.safe_load(user_data)["write_files"]}


def test_the_token_is_in_one_file_that_only_root_reads() -> None:
    """And in no script, argument or environment, which users of the machine could read."""
    user_data = worker_user_data(WorkerContext(), TOKEN, "exec true")
    assert user_data.count(TOKEN) == 1
    entry = files_of(user_data)["token"]
    assert (entry["content"], entry["permissions"], entry["owner"]) == (TOKEN + "\n", "0600", "root:root")


@pytest.mark.parametrize(
    "context",
    [
        WorkerContext(),
        WorkerContext(software=["eventmill==1.2", "https://a.site/x-1-py3-none-any.whl"], pip=["--no-deps"]),
        WorkerContext(container="docker://a.site/it's:1", packages=["apptainer"], stays=True),
        WorkerContext(
            container="/cvmfs/unpacked.cern.ch/x", cvmfs=["unpacked.cern.ch"], cvmfs_proxy="http://squid:3128"
        ),
        WorkerContext(commands=["if true; then echo 'it''s'; fi", "cat <<E\n$HOME\nE"]),
    ],
)
def test_all_scripts_are_what_bash_reads(context: WorkerContext) -> None:
    """A context is run on a machine where nobody looks: a quote that is missing would be noticed by the bill."""
    script = worker_script(context, Pool(setup=["source /x/setup.sh"]), ASSIGNMENT)
    files = files_of(worker_user_data(context, TOKEN, script))
    for name in ("begin", "boot", "prepare", "run"):
        subprocess.run(["bash", "-n"], input=files[name]["content"], text=True, check=True, timeout=20)


def test_what_a_pool_says_goes_before_what_the_context_says() -> None:
    context = WorkerContext(software=["eventmill"], site="cern", proxy_prefix="root://a:1094//")
    script = worker_script(context, Pool(cores=4, site="fnal", setup=["module load x"]), ASSIGNMENT)
    assert "--site fnal" in script and "--proxy-prefix root://a:1094//" in script and "--slots 4" in script
    assert script.index("module load x") < script.index("exec /opt/eventmill/bin/python -m eventmill worker")
    assert "/here/token" not in script


def test_an_image_of_a_registry_is_fetched_before_the_worker_runs_in_it() -> None:
    """Fetched by the worker itself, it would not be bounded by the limit of the boot, and show as a worker that is late."""
    context = WorkerContext(container="docker://a.site/x:1")
    files = files_of(worker_user_data(context, TOKEN, lone_script(context, "desk")))
    assert "apptainer pull /var/lib/eventmill/image.sif docker://a.site/x:1" in files["prepare"]["content"]
    assert "exec apptainer exec /var/lib/eventmill/image.sif python3 -m eventmill" in files["run"]["content"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"software": ["eventmill"], "container": "docker://x"}, "not both"),
        ({"software": ["--index-url=https://x"]}, "no requirement of pip"),
        ({"software": ["eventmill 1.2"]}, "no requirement of pip"),
        ({"pip": ["--no-deps"]}, "nothing to install"),
        ({"user": "root"}, "without rights"),
        ({"user": "a b"}, "without rights"),
        ({"proxy_prefix": "cache.site"}, "root://"),
        ({"cvmfs": ["cms.cern.ch; reboot"]}, "regex"),
        ({"ssh_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "never a private key"),
        ({"boot_limit": "soon"}, "no time"),
        ({"mounts": [["/dev/vdb"]]}, "length"),
        ({"softwar": ["eventmill"]}, "unknown field `softwar`"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(settings, WorkerContext)


def test_a_users_cloud_config_joins_ours() -> None:
    """What it starts comes before the worker does, and what it writes is written with our files."""
    more = {"runcmd": [["mount", "/data"]], "write_files": [{"path": "/etc/x", "content": "x"}], "timezone": "UTC"}
    config = yaml.safe_load(worker_user_data(WorkerContext(cloud_config=more), TOKEN, "exec true"))
    assert config["runcmd"] == [["mount", "/data"], ["/bin/bash", "/var/lib/eventmill/begin"]]
    assert [entry["path"] for entry in config["write_files"]][:2] == ["/etc/x", "/var/lib/eventmill/given/token"]
    assert config["timezone"] == "UTC"


def test_a_cloud_config_against_ours_is_refused() -> None:
    """Taken silently, one of both would be without effect."""
    context = WorkerContext(packages=["nfs-common"], cloud_config={"package_update": False})
    with pytest.raises(ContextError, match="package_update = False does not go with True"):
        worker_user_data(context, TOKEN, "exec true")


def test_user_data_over_a_providers_limit_are_refused_with_what_takes_the_room() -> None:
    """EC2 answers with "User data is limited to 16384 bytes", and nobody knows of what."""
    user_data = worker_user_data(WorkerContext(commands=["echo " + "x" * 20_000]), TOKEN, "exec true")
    with pytest.raises(ContextError, match=r"provider takes 16384; most of it: /var/lib/eventmill/prepare \(20"):
        fitted(user_data, limit=16384)


def test_user_data_are_compressed_where_they_would_not_fit_otherwise() -> None:
    user_data = worker_user_data(WorkerContext(commands=["echo " + "x" * 20_000]), TOKEN, "exec true")
    assert gzip.decompress(fitted(user_data, limit=16384, compress=True)).decode() == user_data
    short = worker_user_data(WorkerContext(), TOKEN, "exec true")
    assert fitted(short, limit=16384, compress=True) == short.encode()


def test_the_usual_context_is_small() -> None:
    """The smallest limit of a provider is EC2's; three quarters of it are left for what users have to say."""
    context = WorkerContext(software=["eventmill==1.2"], cvmfs=["cms.cern.ch"], packages=["nfs-common"])
    assert len(worker_user_data(context, TOKEN, worker_script(context, Pool(), ASSIGNMENT)).encode()) < 8192


_words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@example(["a\x85b", "\ttab", "\u2028", "a\r\n "], "\x85", ["\x85", "no", "1_0"])
@given(st.lists(_words, max_size=3), _words, st.lists(_words.filter(bool), max_size=3))
def test_whatever_a_user_writes_comes_out_as_it_is(commands: list[str], site: str, packages: list[str]) -> None:
    """YAML takes "no" for a truth value, 1_0 for a number, a tab for an error: what a user writes is text, and stays so."""
    context = WorkerContext(commands=commands, site=site, packages=packages)
    config = yaml.safe_load(worker_user_data(context, TOKEN, lone_script(context, "desk")))
    prepare = next(entry for entry in config["write_files"] if entry["path"].endswith("/prepare"))
    assert all(command in prepare["content"] for command in commands)
    assert config.get("packages", []) == packages
