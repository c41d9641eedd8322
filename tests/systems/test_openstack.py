"""Workers on machines of an OpenStack: nova itself, whose machines boot on this one by the real cloud-init.

Its installation takes minutes and half a gigabyte, so that these tests are of `make test-all`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_calls import TOKEN, assigned, states
from eventmill.launch.pools.pool import PoolError
from openstack_site import OpenStackSite, openstack_site
from processes import Standing, eventually
from scaling import scales

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStackSite]:
    with openstack_site(tmp_path_factory.mktemp("openstack")) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left(site: OpenStackSite) -> Iterator[None]:
    """What each test ends with."""
    yield
    eventually(lambda: site.is_empty, "no machine is left")


def test_a_machine_that_does_not_come_up_says_why_and_is_deleted(site: OpenStackSite, tmp_path: Path) -> None:
    """OpenStack keeps machines that are off, and they count: this is what a look at them deletes."""
    pool, call = site.pool(context={"commands": ["echo no such mirror >&2; exit 7"]}), assigned(tmp_path)
    (job,) = pool.start(1, call)
    assert pool.find(call) == pool.left(call) == [job] and pool.find(assigned(tmp_path, "2")) == []
    reasons: list[str] = []

    def failed() -> bool:
        found = pool.listing([job])[job]
        reasons.append(found.reason)
        return found.state == "failed"

    eventually(failed, "it switches itself off")
    assert reasons[-1].startswith("the machine has switched itself off (stopped") and TOKEN not in reasons[-1]
    assert "its software could not be brought" in reasons[-1]
    eventually(lambda: states(pool, [job]) == ["gone"], "it is deleted")


def test_a_query_gets_machines_while_it_runs_and_gives_them_back(
    site: OpenStackSite, standing: Standing, tmp_path: Path
) -> None:
    """Real workers, which enrol under the names that their machines were given."""
    scales(standing, tmp_path, site.pool(), 2, lambda: not site.is_empty)


def test_a_quota_and_what_there_is_not_are_told_in_words(site: OpenStackSite, tmp_path: Path) -> None:
    """In nova's own words where it has some. What there was room for is kept: this one lets a project have three."""
    call = assigned(tmp_path)
    for settings, words in (
        ({"image": "beos"}, "the cloud has no image beos"),
        ({"image": "debian-arm", "architecture": "x86_64"}, "the image debian-arm is for arm64"),
        ({"flavour": "m9.huge"}, "the cloud has no flavour m9.huge; it has m1.large"),
        ({"spot": True}, "openstack has no machines that may be taken back"),
    ):
        with pytest.raises(PoolError, match=words) as caught:
            site.pool(**settings).start(1, call)
        assert caught.value.trouble == "refused"
    site.credentials.write_text(site.credentials.read_text().replace("secret", "wrong"))
    try:
        with pytest.raises(PoolError, match="does not know these credentials"):
            site.pool().start(1, call)
    finally:
        site.credentials.write_text(site.credentials.read_text().replace("wrong", "secret"))
    pool = site.pool(python="/bin/true", context={"commands": ["sleep 1000"]})
    jobs = pool.start(6, call)
    try:
        assert 3 <= len(jobs) < 6, "nova may look at a quota a moment late"
        with pytest.raises(PoolError, match="Quota exceeded") as full:
            pool.start(1, assigned(tmp_path, "2"))
        assert full.value.trouble == "full"
    finally:
        pool.stop(pool.left(call))
    eventually(lambda: pool.left(call) == [], "all are deleted")
