#!/usr/bin/env bash
# Answers a conversation with a picture, a spoken sentence and a short video with sound, in text and speech, on the
# tiny random-weight checkpoint. Needs Python 3.10 or 3.11 and pip; writes .venv (or $VENV) and demo_output.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/setup.sh
source "$root/launch/setup.sh"
ms_omni_setup "$root" ""

output=$root/demo_output
mkdir -p "$output"
if [[ ! -f $output/tiny/config.json ]]; then
    "$ms_omni_python" -m ms_omni tiny "$output/tiny"
fi

echo "The question: launch/conversation.json (shapes.png, question.wav, ball.mp4 with its sound). The answer:"
"$ms_omni_python" "$root/launch/omni_understanding.py" \
    --model "$output/tiny" --conversation "$root/launch/conversation.json" \
    --config "$root/configs/demo.yaml" --audio-out "$output/answer.wav"
echo
echo "The answer in speech: $output/answer.wav"
echo "The tiny checkpoint has random weights, so this answer is noise; every computation behind it is the real one."
echo "(configs/demo.yaml keeps text and speech short on purpose.)"
