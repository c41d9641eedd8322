"""Pools of clouds against a made-up one: what is asked for, what is made of its answers, and what is refused in words."""

from __future__ import annotations

import gzip
import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eventmill.launch.config import parse
from eventmill.launch.pools.cloud import Cloud
from eventmill.launch.pools.cloud_credentials import credentials
from eventmill.launch.pools.cloud_machines import CALL_TAG, FACILITY_TAG, POOL_TAG, names_of
from eventmill.launch.pools.cloud_quirks import QUIRKS
from eventmill.launch.pools.pool import Assignment, Job, PoolError
from eventmill.protocol.errors import EventmillError
from libcloud.common.exceptions import BaseHTTPError
from libcloud.common.types import InvalidCredsError
from libcloud.compute.providers import get_driver
from made_up_cloud import MadeUpCloud, no_connection

TOKEN, SECRET = "a-token-that-nobody-else-may-see", "a-secret-key-of-the-cloud"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> MadeUpCloud:
    made = MadeUpCloud()
    monkeypatch.setitem(QUIRKS, "ec2", replace(QUIRKS["ec2"], connect=made.connect))  # type: ignore[arg-type]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return made


def assigned(folder: Path, call: str = "eventmill-burst-a1-1", facility: str = "f00d") -> Assignment:
    (folder / "token").write_text(TOKEN)
    return Assignment("burst", folder / "token", folder, call, facility)


def pool_of(**settings: Any) -> Cloud:
    return Cloud(**({"driver": "ec2", "image": "x86_64"} | settings))


def test_machines_are_made_with_all_that_finds_and_ends_them(cloud: MadeUpCloud, tmp_path: Path) -> None:
    """Names that were chosen here, tags, one call of the cloud for each name however often it is made, and an end."""
    pool = pool_of(cores=2, tags={"team": "higgs"}, key="mine", network="subnet-1", groups=["sg-1"])
    call = assigned(tmp_path)
    jobs = pool.start(2, call)
    assert jobs == names_of(call, 2) == [made["name"] for made in cloud.made]
    for made in cloud.made:
        assert made["ex_metadata"] == {"team": "higgs", POOL_TAG: "burst", CALL_TAG: call.name, FACILITY_TAG: "f00d"}
        assert made["ex_clienttoken"] == made["name"] and made["ex_terminate_on_shutdown"] and "ex_spot" not in made
        assert (made["ex_keyname"], made["ex_subnet"].id, made["ex_security_group_ids"]) == (
            "mine",
            "subnet-1",
            ["sg-1"],
        )
        assert made["size"].name == "m.large", "the cheapest with two cores and 4 GB for this image"
        user_data = made["ex_userdata"].decode()
        assert TOKEN in user_data and made["name"] in user_data and "--pool burst" in user_data


def test_a_call_and_a_pool_find_their_own_machines_only(cloud: MadeUpCloud, tmp_path: Path) -> None:
    """Not those of another call, and not those that another master's pool of the same name has in the same account."""
    pool = pool_of()
    first, second = assigned(tmp_path), assigned(tmp_path, "eventmill-burst-a1-2")
    theirs = assigned(tmp_path, facility="beef")
    jobs, others = pool.start(2, first), pool.start(1, second)
    pool.start(1, theirs)
    assert pool.find(first) == jobs and pool.find(second) == others
    assert pool.left(assigned(tmp_path, "")) == sorted(jobs + others)
    cloud.now(jobs[0], "terminated")
    assert jobs[0] not in pool.find(first) + pool.left(first), "nothing is left of it"
    pool.stop([*jobs, "eventmill-unknown-0"])
    assert pool.left(first) == others


@pytest.mark.parametrize(
    ("state", "extra", "job"),
    [
        ("pending", {}, Job("queued", "", "10.0.0.7")),
        ("running", {"status": "running"}, Job("started", "", "10.0.0.7")),
        ("unknown", {"status": "shutting-down"}, Job("ending", "", "10.0.0.7")),
        (
            "terminated",
            {"status": "terminated", "state_reason": "Server.SpotInstanceTermination"},
            Job(
                "reclaimed",
                "the provider has taken the machine back (terminated: Server.SpotInstanceTermination)",
                "10.0.0.7",
            ),
        ),
        (
            "terminated",
            {"status": "terminated", "state_reason": "Client.InstanceInitiatedShutdown"},
            Job(
                "failed",
                "the machine has switched itself off (terminated: Client.InstanceInitiatedShutdown)",
                "10.0.0.7",
            ),
        ),
        (
            "terminated",
            {"status": "terminated", "state_reason": "Client.UserInitiatedShutdown"},
            Job("gone", "terminated: Client.UserInitiatedShutdown", "10.0.0.7"),
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_a_machine(
    cloud: MadeUpCloud, tmp_path: Path, state: str, extra: dict[str, str], job: Job
) -> None:
    """A machine that was taken back is no failure; one that has switched itself off before it worked is."""
    pool = pool_of()
    (name,) = pool.start(1, assigned(tmp_path))
    cloud.now(name, state, **extra)
    assert pool.listing([name, "eventmill-unknown-0"]) == {name: job, "eventmill-unknown-0": Job("gone")}


def test_a_machine_that_stays_when_it_is_off_is_deleted_and_its_last_words_are_kept(
    cloud: MadeUpCloud, tmp_path: Path
) -> None:
    """Where machines that switch themselves off stay (OpenStack's SHUTOFF), they hold their part of the quota."""
    pool = pool_of()
    (name,) = pool.start(1, assigned(tmp_path))
    cloud.now(name, "stopped", status="stopped", state_reason="Client.InstanceInitiatedShutdown")
    (job,) = pool.listing([name]).values()
    assert job.state == "failed" and job.reason.splitlines()[1:] == [
        "[ 2.0] eventmill: its software could not be brought; switching off"
    ]
    assert cloud.nodes == []


def test_a_quota_that_is_reached_keeps_what_there_was_room_for(cloud: MadeUpCloud, tmp_path: Path) -> None:
    """To delete them again, and ask for all anew in three minutes, would cost money without end."""
    cloud.quota = 2
    assert len(pool_of().start(5, assigned(tmp_path))) == 2
    with pytest.raises(PoolError, match="VcpuLimitExceeded") as caught:
        pool_of().start(3, assigned(tmp_path, "eventmill-burst-a1-2"))
    assert caught.value.trouble == "full" and len(cloud.nodes) == 2


def test_credentials_that_may_list_and_not_start(cloud: MadeUpCloud, tmp_path: Path) -> None:
    """It is said so, and is the user's to change."""
    cloud.fails = [BaseHTTPError(403, "UnauthorizedOperation: You are not authorized to perform this operation.")]
    with pytest.raises(PoolError, match="starts no machine: these credentials may not do that") as caught:
        pool_of().start(1, assigned(tmp_path))
    assert caught.value.trouble == "refused" and pool_of().left(assigned(tmp_path)) == []


def test_what_was_refused_in_the_middle_leaves_nothing(cloud: MadeUpCloud, tmp_path: Path) -> None:
    """All of a call, or none: the user will change something before it is asked for again."""
    cloud.fails = [None, BaseHTTPError(400, "InvalidParameterValue: something")]
    with pytest.raises(PoolError, match="InvalidParameterValue"):
        pool_of().start(2, assigned(tmp_path))
    assert cloud.nodes == []


def test_an_answer_that_does_not_come_shows_no_secret_and_leaves_machines_to_be_found(
    cloud: MadeUpCloud, tmp_path: Path
) -> None:
    """libraries put the URL of what they asked for into their errors."""
    cloud.fails, cloud.answers = [None, no_connection(f"/?UserData={TOKEN}&key={SECRET}")], False
    call = assigned(tmp_path)
    with pytest.raises(PoolError) as caught:
        pool_of(endpoint="http://cloud.site").start(2, call)
    assert (
        caught.value.trouble == "down"
        and str(caught.value) == "ec2 at http://cloud.site does not answer: Connection refused"
    )
    assert pool_of().find(call) == names_of(call, 2)


def test_secrets_are_in_no_message_no_setting_and_no_preview(cloud: MadeUpCloud, tmp_path: Path) -> None:
    cloud.fails = [InvalidCredsError(f"AuthFailure: {SECRET} is not the key, said {TOKEN}")]
    pool, call = pool_of(), assigned(tmp_path)
    with pytest.raises(PoolError, match=r"\(secret\) is not the key, said \(secret\)"):
        pool.start(1, call)
    shown = pool.preview(2, call)
    assert "ex_clienttoken = 'eventmill-burst-" in shown and "#cloud-config" in shown
    assert not any(secret in text for secret in (TOKEN, SECRET) for text in (shown, repr(pool)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image": "beos"}, "the cloud has no image beos; it has arm64, x86_64"),
        ({"image": "arm64", "flavour": "m.large"}, "for arm64, and a machine of flavour m.large is x86_64"),
        ({"image": "arm64", "architecture": "x86_64"}, "the image arm64 is for arm64, and architecture = 'x86_64'"),
        ({"cores": 17}, "no flavour for x86_64 has 17 cores, 34 GB of memory: the largest, m.giant, has 16 and 64 GB"),
        ({"cores": 1, "memory": "65G"}, "the largest, m.giant, has 16 and 64 GB"),
        ({"driver": "openstack", "spot": True}, "openstack has no machines that may be taken back: leave out spot"),
        ({"context": {"commands": ["x" * 20 + str(n * 7919) for n in range(4000)]}}, "the provider takes 16384"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_started(
    cloud: MadeUpCloud, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    table = {"system": "cloud", "driver": "ec2", "image": "x86_64"} | settings
    (pool,) = parse({"burst": table}, "pools.toml").values()
    with pytest.raises(PoolError, match=r"(?s).*") as caught:
        pool.start(1, assigned(tmp_path))
    assert words in str(caught.value) and caught.value.trouble == "refused" and cloud.made == []


def test_the_cheapest_flavour_that_suffices(cloud: MadeUpCloud, tmp_path: Path) -> None:
    """For the image's architecture, with the cores and the memory that are wanted; or the one that is named."""
    wanted = [{}, {"memory": "3G"}, {"image": "arm64"}, {"cores": 4}, {"flavour": "m.giant"}, {"flavour": "z9.new"}]
    for number, settings in enumerate(wanted):
        pool_of(**settings).start(1, assigned(tmp_path, str(number)))
    sizes = ["t.small", "m.large", "a.large", "m.giant", "m.giant", "z9.new"]
    assert [made["size"].name for made in cloud.made] == sizes


def test_long_user_data_are_compressed_where_machines_get_them_as_they_are(cloud: MadeUpCloud, tmp_path: Path) -> None:
    """cloud-init unpacks them."""
    (pool,) = parse(
        {"b": {"system": "cloud", "driver": "ec2", "image": "x86_64", "context": {"commands": ["echo again"] * 5000}}},
        "p",
    ).values()
    pool.start(1, assigned(tmp_path))
    assert len(cloud.made[0]["ex_userdata"]) <= 16384
    assert gzip.decompress(cloud.made[0]["ex_userdata"]).count(b"echo again") == 5000


# --- the table ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(QUIRKS))
def test_each_argument_is_one_that_the_driver_has(name: Any) -> None:
    """An interface that nobody has here is tried as far as that goes."""
    quirks = QUIRKS[name]
    module = {"azure": "azure_arm"}.get(name, name)
    if name == "openstack":
        from eventmill.launch.pools.cloud_openstack import Driver as kind
    elif name == "opennebula":
        from libcloud.compute.drivers.opennebula import OpenNebula_3_8_NodeDriver as kind
    else:
        kind = get_driver(module)
    known = inspect.signature(kind.create_node).parameters
    given: dict[str, Any] = dict(quirks.fixed) | quirks.ends_itself | quirks.user_data(b"data") | (quirks.spot or {})
    given |= quirks.tags({"a": "b"}) if quirks.tags else {}
    given |= quirks.network("n", ["g"]) | quirks.network("n", []) | quirks.network("", ["g"])
    names = {*given, *filter(None, (quirks.client_token, quirks.key))}
    assert names <= known.keys(), names - known.keys()
    assert inspect.signature(kind.list_nodes).parameters.keys() >= quirks.filters.keys()


def test_names_are_such_that_every_cloud_takes_them(tmp_path: Path) -> None:
    """63 characters at most, small letters, digits and dashes, a letter first."""
    call = Assignment("Night_Shift-" + "x" * 28, tmp_path, tmp_path, "eventmill-" + "y" * 60, "f00d")
    name = names_of(call, 1000)[-1]
    assert name.startswith("eventmill-night-shift-xxxxxxxx-") and name.endswith("-999") and len(name) <= 63
    assert names_of(replace(call, facility="beef"), 1) != names_of(call, 1)


# --- credentials --------------------------------------------------------------------------------------------------------

AWS = [["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]]
OPENSTACK = QUIRKS["openstack"].variables


def read(folder: Path, text: str, alternatives: Any, profile: str = "default", mode: int = 0o600) -> Mapping[str, str]:
    (folder / "file").write_text(text)
    (folder / "file").chmod(mode)
    return credentials(str(folder / "file"), profile, alternatives, {})


def test_credentials_are_read_as_other_tools_write_them(tmp_path: Path) -> None:
    sections = "[default]\naws_access_key_id = A\naws_secret_access_key = B\n"
    sections += "[work]\naws_access_key_id=C\naws_secret_access_key=D=\n"
    assert read(tmp_path, sections, AWS)["AWS_SECRET_ACCESS_KEY"] == "B"
    assert read(tmp_path, sections, AWS, "work")["AWS_SECRET_ACCESS_KEY"] == "D="
    openrc = "#!/bin/bash\nexport OS_USERNAME=\"me\"\nexport OS_PASSWORD='p$w'\nexport OS_AUTH_URL=https://a/v3\n"
    found = read(tmp_path, openrc, OPENSTACK)
    assert (found["OS_PASSWORD"], found["OS_AUTH_URL"]) == ("p$w", "https://a/v3") and "p$w" not in repr(found)
    google = '{"client_email": "me@site", "project_id": "p", "private_key": "x"}'
    assert read(tmp_path, google, QUIRKS["gce"].variables)["GOOGLE_CLOUD_PROJECT"] == "p"


@pytest.mark.parametrize(
    ("text", "alternatives", "mode", "words"),
    [
        ("AWS_ACCESS_KEY_ID=A\n", AWS, 0o600, "has no credentials for this cloud: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID=A\nAWS_SECRET_ACCESS_KEY=B\n", AWS, 0o644, "others can read the credentials in .*: chmod 600"),
        ("export OS_USERNAME=me\nexport OS_PASSWORD=$OS_PASSWORD_INPUT\n", OPENSTACK, 0o600, "OS_PASSWORD or OS_APP"),
        ("{}", QUIRKS["gce"].variables, 0o600, "is no service account of Google's"),
    ],
)  # fmt: skip
def test_credentials_that_are_not_there(tmp_path: Path, text: str, alternatives: Any, mode: int, words: str) -> None:
    with pytest.raises(PoolError, match=words) as caught:
        read(tmp_path, text, alternatives, mode=mode)
    assert caught.value.trouble == "refused"


def test_a_driver_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(EventmillError, match="pool b: driver = 'ec3'"):
        parse({"b": {"system": "cloud", "driver": "ec3", "image": "i"}}, "pools.toml")


def test_azures_user_data_go_as_json_takes_them() -> None:
    """libcloud makes bytes of them, which nothing can send."""
    from eventmill.launch.pools.cloud_azure import Driver

    sent = []
    driver = SimpleNamespace(_request=lambda action, **what: sent.append(what["data"]))
    Driver._sent(driver, "/vm", data={"properties": {"osProfile": {"customData": b"YQ=="}}}, method="PUT")
    assert sent == [{"properties": {"osProfile": {"customData": "YQ=="}}}]
