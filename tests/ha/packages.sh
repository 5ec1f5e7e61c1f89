#!/usr/bin/env bash
# Installs what `make ha` needs of Debian, as root; else it says what is missing.
set -euo pipefail
missing=()
for program in etcd:etcd-server etcdctl:etcd-client haproxy:haproxy pgbouncer:pgbouncer \
    envsubst:gettext-base; do
    PATH=$PATH:/usr/sbin command -v "${program%%:*}" >/dev/null || missing+=("${program##*:}")
done
[ "${#missing[@]}" != 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet --quiet || true
    apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}" && exit 0
fi
echo "Missing, of Debian: ${missing[*]}."
