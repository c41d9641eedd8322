#!/bin/bash
# cloud_init_unpack.sh FOLDER: cloud-init, and what it needs beyond what this machine has, unpacked in FOLDER, 15 MB, for the machines of
# tests/support/systems/cloud_machines.py. Never install its package on the machine itself: it enables services that run at the next boot.
set -euo pipefail
[ -e "$1/usr/bin/cloud-init" ] && exit 0
half="$1.part.$$"
rm -rf "$half" && mkdir -p "$half/debs/partial" "$half/root"
trap 'rm -rf "$half"' EXIT
[ "$(id -u)" = 0 ] && apt-get -qq update >/dev/null
apt-get -qq -y --no-install-recommends --download-only -o Dir::Cache::archives="$half/debs" -o Debug::NoLocking=1 \
  -o APT::Sandbox::User="$(id -un)" install cloud-init >/dev/null
for package in "$half"/debs/*.deb; do dpkg-deb -x "$package" "$half/root"; done
for folder in bin sbin lib; do  # they are links into /usr, which a folder of the same name would hide
  [ ! -d "$half/root/$folder" ] || { mkdir -p "$half/root/usr/$folder" && cp -a "$half/root/$folder/." "$half/root/usr/$folder" && rm -rf "$half/root/$folder"; }
done
rm -rf "$half"/root/etc/cloud/cloud.cfg.d/* "$half/root/usr/share/doc" "$half/root/usr/share/man" "$half/root/usr/lib/systemd"
mkdir -p "$half/root/etc/cloud/cloud.cfg.d"
# Only these modules: others (growpart, resizefs, mounts, ssh) would work on the disks and accounts of a real machine.
cat >"$half/root/etc/cloud/cloud.cfg" <<'C'
datasource_list: [NoCloud]
disable_root: false
preserve_hostname: true
network: {config: disabled}
cloud_init_modules: [seed_random, bootcmd, write-files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user, final-message]
system_info: {distro: debian, paths: {cloud_dir: /var/lib/cloud/, run_dir: /run/cloud-init/, templates_dir: /etc/cloud/templates/}}
C
/usr/bin/python3 -m compileall -q "$half/root/usr/lib/python3" -s "$half/root" >/dev/null || true  # parts of it are for other versions
rm -rf "$1" && mv "$half/root" "$1"
