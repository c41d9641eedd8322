#!/bin/bash
# kubernetes_build.sh FOLDER: a real control plane of Kubernetes (etcd, kube-apiserver, kube-controller-manager, kube-scheduler 1.20.2)
# in FOLDER/bin, 270 MB. Nobody has these as packages: they are compiled from Debian 12's source package, whose vendored source is
# whole, which takes six minutes of CPU time, once, and 4 GB meanwhile. Nothing is installed: compiler and etcd are unpacked
# beside it, and root is not needed.
set -euo pipefail
[ -x "$1/bin/kube-scheduler" ] && exit 0
mkdir -p "$1"
exec 9>"$1/lock" && flock 9
[ -x "$1/bin/kube-scheduler" ] && exit 0
W="$1/build"
rm -rf "$W" && mkdir -p "$W"/{apt/state/lists/partial,apt/cache/archives/partial,debs,root,source,bin,go/src/k8s.io} && cd "$W"
trap 'chmod -R u+w "$W" && rm -rf "$W"' EXIT

mirror=$(awk '/^URIs/{print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
for kind in deb deb-src; do
  echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} bookworm main"
done >apt/list
: >apt/status
options="-o Dir::State=$W/apt/state -o Dir::State::status=$W/apt/status -o Dir::Cache=$W/apt/cache -o Dir::Etc::SourceList=$W/apt/list
  -o Dir::Etc::SourceParts=/dev/null -o Debug::NoLocking=1 -o APT::Sandbox::User=$(id -un)"
apt-get $options -qq update >/dev/null
(cd debs && apt-get $options -qq download etcd-server golang-1.19-go golang-1.19-src >/dev/null)
for package in debs/*.deb; do dpkg-deb -x "$package" root; done
(cd source && apt-get $options -qq source --download-only kubernetes >/dev/null && dpkg-source --no-check -x kubernetes_1.20*.dsc k >/dev/null)
cp root/usr/bin/etcd bin

ln -s "$W/source/k" go/src/k8s.io/kubernetes && cd go/src/k8s.io/kubernetes
export GOROOT="$W/root/usr/lib/go-1.19" GOPATH="$W/go" GOCACHE="$W/cache" GO111MODULE=off CGO_ENABLED=0 GOFLAGS= PATH="$W/root/usr/lib/go-1.19/bin:$PATH"
# One file that is generated is not in the source: the definitions of OpenAPI.
go build -o "$W/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
inputs=$(for part in api apimachinery apiextensions-apiserver kube-aggregator metrics component-base client-go apiserver cloud-provider \
    kubelet kube-scheduler kube-proxy kube-controller-manager; do
  (cd "vendor/k8s.io/$part/" && grep -rl --include='*.go' '+k8s:openapi-gen=' . | xargs -r -n1 dirname | sort -u \
    | sed "s#^\.#k8s.io/kubernetes/vendor/k8s.io/$part#")
done | grep -v '/test\|example' | paste -sd,)
"$W/openapi-gen" --go-header-file hack/boilerplate/boilerplate.generatego.txt -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi \
  -O zz_generated.openapi -r "$W/violations" --output-base "$W/go/src"
for program in kube-apiserver kube-controller-manager kube-scheduler; do
  go build -ldflags '-s -w' -o "$W/bin/$program" "k8s.io/kubernetes/cmd/$program"
done
rm -rf "$1/bin" && mv "$W/bin" "$1/bin"
