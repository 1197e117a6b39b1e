#!/usr/bin/env bash
# Answers one conversation on 2 cards of this machine; the flags are those of ms-omni understand.
#   launch/cards_2.sh --model DIR --conversation launch/conversation.json --audio-out answer.wav
# GROUP_SIZE: cards that share one model (default all). COMMAND: another command than understand. PYTHON: which Python.
set -euo pipefail

exec "${PYTHON:-python}" -m ms_omni launch --cards 2 --group-size "${GROUP_SIZE:-2}" -- "${COMMAND:-understand}" "$@"
