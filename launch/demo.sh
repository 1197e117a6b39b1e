#!/usr/bin/env bash
# Answers a conversation with a picture, a spoken sentence and a short video with sound, in text and speech, on the
# tiny model that is part of the package. Needs Python 3.10 or 3.11 and pip; writes .venv (or $VENV) and demo_output.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/setup.sh
source "$root/launch/setup.sh"
ms_omni_setup "$root" ""

output=$root/demo_output
mkdir -p "$output"
echo "The question: launch/conversation.json (tiny_shapes.png, tiny_words.wav, tiny_ball.mp4 with its sound). The answer:"
"$ms_omni_python" "$root/launch/omni_understanding.py" \
    --conversation "$root/launch/conversation.json" \
    --config "$root/configs/demo.yaml" --audio-out "$output/answer.wav"
echo
echo "The answer in speech: $output/answer.wav"
echo "The tiny model knows generated shapes, spoken words and tones (docs/tiny): its answer should be right, and is no"
echo "measure of the released model, of which it has every part."
