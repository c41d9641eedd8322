"""What cloud-init would not understand is said before a machine is asked for."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
import yaml
from eventmill.launch.contexts import schema
from eventmill.launch.contexts.cloud_config import ContextError
from eventmill.launch.contexts.worker import WorkerContext, worker_user_data
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"runcmds": ["x"]}, "no key 'runcmds'; the nearest names are runcmd"),
        (
            {"write_files": [{"path": "/x", "permission": "0600"}]},
            "write_files.0: no key 'permission'; it has .*permissions",
        ),
        ({"users": [{"login": "x"}]}, "users.0: no key 'login'"),
        ({"write_files": [{"content": "x"}]}, "write_files.0: it lacks path"),
        ({"power_state": {"mode": "of"}}, "power_state.mode: it is to be one of poweroff, reboot, halt, and is 'of'"),
        ({"runcmd": "reboot"}, "runcmd: it is to be of type array, and is 'reboot'"),
        ({"runcmd": []}, "runcmd: it is empty: leave it out"),
        ({"bootcmd": [["a", 2]]}, "bootcmd.0.1: it is to be of type string, and is 2"),
        ({"apt": {"sources": {"x": {"origin": "y"}}}}, "apt.sources.x: no key 'origin'; it has .*source"),
    ],
)
def test_a_fault_is_told_with_its_place(config: dict[str, Any], words: str) -> None:
    """cloud-init reads on over a misspelt key: the machine comes, lacks something, and costs."""
    with pytest.raises(ContextError, match=f"my.yaml: {words}"):
        schema.check(config, "my.yaml")


def test_a_long_value_is_not_told_whole() -> None:
    """It may be a secret, and a terminal is no place for it."""
    with pytest.raises(ContextError) as caught:
        schema.check({"write_files": ["s" * 500]}, "my.yaml")
    assert len(str(caught.value)) < 200


def test_of_many_faults_some_are_told() -> None:
    with pytest.raises(ContextError, match="and 15 more"):
        schema.check({f"key{number}": 1 for number in range(20)}, "my.yaml")


_keys = (
    st.sampled_from(["runcmd", "write_files", "packages", "package_update", "ntp", "users", "mounts", "bootcmds"])
    | st.text()
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_keys, _values, max_size=4))
@example({"runcmd": [["echo", "no"], "x: y\t"], "packages": ["a", ["b", "1.0"]]})
@example({"package_update": "yes"})
def test_whatever_a_user_writes_comes_out_valid_or_is_refused_in_words(more: dict[str, Any]) -> None:
    """Judged by another reading of the schema than the one that refuses."""
    try:
        user_data = worker_user_data(WorkerContext(packages=["x"], cloud_config=more), "t", "exec true")
    except ContextError as error:
        words = str(error)
    else:
        words, config = "", yaml.safe_load(user_data)
    if words:
        assert "cloud_config" in words
        return
    assert all(key in config for key in more)
    from jsonschema import Draft4Validator  # here, since it takes a second that all processes of a run would pay

    text = (files("eventmill.launch.contexts") / "assets" / schema.FILE).read_text()
    assert Draft4Validator(json.loads(text)).is_valid(config)
