#!/usr/bin/env bash
# launch/machines.sh on two machines of one rank each, played by two network namespaces; run it under `unshare -n`.
#   two_machines.sh OUT_DIR [RANK_TO_KILL]
# Leaves OUT_DIR/machine_0 and machine_1 (all that they printed); prints their exit codes.
set -euo pipefail

out=$1 killed=${2:-}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$out"
mkdir -p 0 1

ip link set lo up
unshare -n sleep 900 &
other=$!
trap 'kill "$other"' EXIT
until [[ $(readlink "/proc/$other/ns/net") != $(readlink /proc/self/ns/net) ]]; do sleep 0.1; done
ip link add here type veth peer name there
ip link set there netns "$other"
ip addr add 10.9.0.1/24 dev here
ip link set here up
nsenter -t "$other" -n sh -c 'ip link set lo up; ip addr add 10.9.0.2/24 dev there; ip link set there up'

export NODES=2 MASTER_ADDR=10.9.0.1 CARDS=1 GROUP_SIZE=2
(cd 0 && NODE_RANK=0 exec bash "$root/launch/machines.sh" "$out") >machine_0 2>&1 &
first=$!
(cd 1 && NODE_RANK=1 exec nsenter -t "$other" -n bash "$root/launch/machines.sh" "$out") >machine_1 2>&1 &
second=$!

if [[ -n $killed ]]; then
    until [[ -s started_0 && -s started_1 ]]; do
        kill -0 "$first" && kill -0 "$second"
        sleep 0.5
    done
    kill -9 "$(<"started_$killed")"
fi
codes=()
for machine in "$first" "$second"; do
    code=0
    wait "$machine" || code=$?
    codes+=("$code")
done
echo "${codes[@]}"
