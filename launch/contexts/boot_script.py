"""What a new machine runs once cloud-init has written its files: scripts for bash, in one folder of root's.

    begin      starts the rest as a service, which comes back after a reboot; without systemd as a process of its own
    boot       the frame: waits for the clock, has the machine prepared, runs the worker or master, switches the machine off
    prepare    brings the software; it may take so long and no longer
    run        becomes the worker or master, as a user without rights
    given/     files for that user alone, as the token by which a worker enrols
    watch      asks the provider whether it takes the machine back soon, where it may (`spot_notices`)

Whatever goes wrong ends in `boot`, which says why in the last line on the console and switches the machine off, if it is to
be: one that came to nothing would cost money until somebody notices.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

PLACE = "/var/lib/eventmill"
GIVEN, HOME = f"{PLACE}/given", f"{PLACE}/home"
"""Where cloud-init writes files, for root alone, and where the worker or master finds them."""
TOKEN_FILE = "/dev/fd/3"  # noqa: S105 - its name
"""Where the worker finds its token: in a file that has no name any more, and that is open for the worker alone. Analyses run
as the same user, and would read one with a name."""
VENV = "/opt/eventmill"
"""Where software of pip's goes."""
SERVICE = "eventmill"
INSTANCE_ID = "/var/lib/cloud/data/instance-id"
"""Where cloud-init writes down what the provider calls the machine, whoever the provider is."""

_UNIT = f"""\
[Unit]
Description=@what@ of eventmill
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/bin/bash {PLACE}/boot
StandardOutput=journal+console
StandardError=journal+console
KillMode=mixed
OOMPolicy=continue
Delegate=yes
Restart=@restart@
RestartSec=10

[Install]
WantedBy=multi-user.target
"""
BEGIN = f"""\
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload && systemctl enable {SERVICE} && systemctl start --no-block {SERVICE}
else
    setsid /bin/bash {PLACE}/boot </dev/null &
fi
"""
_BOOT = """\
say() { echo "eventmill: $*"; }

finish() {
    if [ -n "$stays" ]; then
        say "$why; the machine stays, as its context says"
    elif [ -n "$told" ] && [ -d /run/systemd/system ]; then
        say "$why; the service was told to end"
    else
        say "$why; switching off"
        sync
        if [ -d /run/systemd/system ]; then systemctl --no-block poweroff; else poweroff -f -f; fi
    fi
}

clock_is_set() { [ "$(timedatectl show -p NTPSynchronized --value 2>/dev/null)" = yes ]; }

# Certificates of servers are checked by the clock; enrolment and all that comes after it are not.
look_at_clock() {
    local left=$clock_wait
    if [ -d /run/systemd/system ]; then
        until clock_is_set || [ "$left" -le 0 ]; do sleep 1; left=$((left - 1)); done
    fi
    if clock_is_set; then return; fi
    local now; now=$(date +%s)
    if [ "$now" -lt "$made" ]; then
        clock=" (its clock is wrong: it says $(date -u), and was asked to boot after $(date -u -d "@$made"))"
        say "no time service has set the clock$clock: servers with certificates may be refused, the master is not"
    fi
}

# The user-data have the token in them, and whoever can ask the provider's metadata service can read them.
hide_metadata() {
    case $(cat /run/cloud-init/cloud-id 2>/dev/null) in
        ""|none|nocloud|configdrive) return ;;
    esac
    if ip rule | grep -q "uidrange $1-$1"; then return; fi  # the service was started before
    ip rule add uidrange "$1-$1" ipproto tcp dport 80 to 169.254.169.254/32 prohibit \\
        || say "analyses can ask the metadata service of this machine"
}

why="the script of its context broke off" clock="" told="" running=""
trap finish EXIT
trap 'told=yes; [ -n "$running" ] && kill -TERM "$running"' TERM
cd "$place" || exit 1

id "$user" >/dev/null 2>&1 || useradd --system --create-home --home-dir "$home" --shell /usr/sbin/nologin "$user"
uid=$(id -u "$user") || { why="there is no user $user, and none could be made"; exit 1; }
gid=$(id -g "$user")
look_at_clock
hide_metadata "$uid"

timeout -k 10 "$limit" /bin/bash ./prepare </dev/null
case $? in
    0) ;;
    124|137) why="its software was not there after $limit s$clock"; exit 1 ;;
    *) why="its software could not be brought: the lines above say why$clock"; exit 1 ;;
esac

[ -n "$job" ] || job=$(cat "$instance_id") || { why="what the provider calls this machine is not known"; exit 1; }
install -d -o "$uid" -g "$gid" -m 700 "$home" && cp -rT given "$home" && chown -R "$uid:$gid" "$home" \\
    || { why="the files for user $user are not where they belong"; exit 1; }
if [ -e "$home/token" ]; then exec 3<"$home/token" && rm "$home/token"; fi
say "a $what begins as job $job, user $user"
cd "$home" || exit 1
env -i HOME="$home" USER="$user" PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 "$job_variable=$job" \\
    "$notice_variable=$place/notice" setpriv --reuid "$uid" --regid "$gid" --init-groups /bin/bash "$place/run" </dev/null &
running=$!
rm -f "$place/notice"  # of an earlier boot
if [ -n "$watched" ]; then python3 "$place/watch" $watched "$place/notice" "$running" </dev/null & fi
wait "$running"
code=$?
while kill -0 "$running" 2>/dev/null; do wait "$running"; code=$?; done
case $code in
    0) why="the $what has ended well" ;;
    *) why="the $what has ended with code $code: the lines above say why" ;;
esac
exit "$code"
"""


def boot_script(settings: Mapping[str, str]) -> str:
    """The script `boot`, with what it is to know."""
    known = {"place": PLACE, "home": HOME, "instance_id": INSTANCE_ID} | dict(settings)
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in known.items())
    return f"#!/bin/bash\n{lines}{_BOOT}"


def unit(what: str, comes_back: bool) -> str:
    """The service. If it `comes_back`, it is started again when it has failed."""
    return _UNIT.replace("@what@", what).replace("@restart@", "on-failure" if comes_back else "no")


def prepare_script(*steps: str) -> str:
    """The script `prepare`: one step after the other, and no further than the first that fails."""
    return "set -e\nexport DEBIAN_FRONTEND=noninteractive\n" + "\n".join(filter(None, steps)) + "\n"


def install_step(python: str, requirements: list[str], options: list[str]) -> str:
    """Bring software by pip into a place of its own, unless it is there (the machine has booted before)."""
    wanted = shlex.join([*options, "--", *requirements])
    make = f"{shlex.quote(python)} -m venv {VENV}"
    return f"""\
if [ ! -e {VENV}/is-whole ]; then
    {make} || {{ command -v apt-get >/dev/null && apt-get -q update && apt-get -q install -y python3-venv && {make}; }}
    {VENV}/bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-cache-dir {wanted}
    touch {VENV}/is-whole
fi"""


def container_step(image: str, pulled: str) -> str:
    """See that Apptainer is there, and fetch an image of a registry."""
    fetch = f"[ -e {pulled} ] || apptainer pull {pulled} {shlex.quote(image)}" if "://" in image else ""
    return f"""\
command -v apptainer >/dev/null || {{ echo "no apptainer here: take an image that has it, or name it in packages"; exit 1; }}
{fetch}"""


def cvmfs_step(repositories: list[str], proxy: str) -> str:
    """Mount repositories of CVMFS through a proxy cache; its client comes from CERN if the image has none."""
    settings = f"CVMFS_REPOSITORIES={','.join(repositories)}\nCVMFS_HTTP_PROXY={shlex.quote(proxy)}\n"
    settings += "CVMFS_CLIENT_PROFILE=single\n"
    package = "https://ecsft.cern.ch/dist/cvmfs/cvmfs-release/cvmfs-release-latest"
    return f"""\
if ! command -v cvmfs_config >/dev/null; then
    if command -v apt-get >/dev/null; then
        curl -fsSL -o /tmp/cvmfs-release.deb {package}_all.deb
        apt-get -q install -y /tmp/cvmfs-release.deb
        apt-get -q update
        apt-get -q install -y cvmfs
    else
        dnf -q install -y {package}.noarch.rpm
        dnf -q install -y cvmfs
    fi
fi
printf %s {shlex.quote(settings)} >/etc/cvmfs/default.local
cvmfs_config setup
cvmfs_config probe {shlex.join(repositories)}"""
