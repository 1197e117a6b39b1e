#!/usr/bin/env bash
# Answers one conversation on 4 cards of this machine; the flags are those of ms-omni understand.
#   launch/cards_4.sh --model DIR --conversation launch/conversation.json --audio-out answer.wav
# GROUP_SIZE: cards that share one model (default all). COMMAND: another command than understand. PYTHON: which Python.
set -euo pipefail

exec "${PYTHON:-python}" -m ms_omni launch --cards 4 --group-size "${GROUP_SIZE:-4}" -- "${COMMAND:-understand}" "$@"
