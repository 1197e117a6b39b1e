#!/usr/bin/env bash
# One job on several machines: run it on each of them, with its own NODE_RANK (0 on the machine named MASTER_ADDR).
#   NODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 launch/machines.sh --model DIR --text "Hello"
# CARDS: cards of each machine (default 8). MASTER_PORT: the same on all (default 8118). GROUP_SIZE: cards that share
# one model (default CARDS). COMMAND: another command than understand. PYTHON: which Python.
set -euo pipefail

cards=${CARDS:-8}
: "${NODES:?number of machines}" "${NODE_RANK:?number of this machine, from 0}" "${MASTER_ADDR:?address of machine 0}"

exec "${PYTHON:-python}" -m ms_omni launch --cards "$cards" --group-size "${GROUP_SIZE:-$cards}" \
    --nodes "$NODES" --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "${MASTER_PORT:-8118}" \
    -- "${COMMAND:-understand}" "$@"
