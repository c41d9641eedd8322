"""A context by form: what is written there comes out as the same context, also by way of a file."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest
from eventmill.launch.contexts.cloud_config import ContextError
from eventmill.launch.contexts.files import parse_context
from eventmill.launch.contexts.form import FIELDS, as_toml, context_of, fields
from eventmill.launch.contexts.worker import WorkerContext
from hypothesis import example, given
from hypothesis import strategies as st


def test_the_form_has_all_settings_and_tells_what_each_is_for() -> None:
    assert set(FIELDS) == {field.name for field in msgspec.structs.fields(WorkerContext)}
    assert all(field["help"] for field in fields())
    told = {field["name"]: field["help"] for field in fields()}
    assert told["site"] == "where the machine is, as displays call it."
    assert told["mounts"].startswith("as in an fstab") and told["mounts"].endswith("]].")


def test_what_is_written_into_the_form_is_the_context() -> None:
    made = context_of(
        {
            "software": "eventmill==1.2\n\n",
            "mounts": "nas.site:/data /data nfs ro\n",
            "commands": "cat <<E\n  x\nE",
            "stays": "yes",
            "clock_wait": "60",
            "cloud_config": "timezone: UTC\nruncmd: [[a, b]]",
            "site": "  ",
        }
    )
    assert made == WorkerContext(
        software=["eventmill==1.2"],
        mounts=[["nas.site:/data", "/data", "nfs", "ro"]],
        commands=["cat <<E", "  x", "E"],
        stays=True,
        clock_wait=60,
        cloud_config={"timezone": "UTC", "runcmd": [["a", "b"]]},
    )


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"clock_wait": "soon"}, "clock_wait = 'soon'"),
        ({"cloud_config": "a: ["}, "cloud_config is no YAML"),
        ({"cloud_config": "just words"}, "cloud_config"),
        ({"programs": "x"}, "no setting 'programs'"),
        ({"software": "eventmill", "container": "docker://x"}, "not both"),
    ],
)
def test_what_cannot_be_is_told(entries: dict[str, str], words: str) -> None:
    with pytest.raises(ContextError, match=words):
        context_of(entries)


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_values = st.recursive(
    _text | st.booleans() | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)


@given(_text, st.lists(_text, max_size=3), st.dictionaries(_text, _values, max_size=3), st.booleans())
@example("\x7f\\\"'", ["\t", "\n"], {"a b": {"": ["x", 1, True]}}, True)
def test_a_context_comes_back_from_its_file(site: str, commands: list[str], more: dict[str, Any], stays: bool) -> None:
    """TOML and JSON agree on strings in all but one character, and on keys in nothing."""
    context = WorkerContext(site=site, commands=commands, cloud_config=more, stays=stays)
    assert parse_context(tomllib.loads(as_toml(context)), WorkerContext, "x") == context
