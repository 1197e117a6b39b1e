#!/usr/bin/env bash
# The tiny model from nothing, in one go; what is there already is not made again.
#
#   bash docs/tiny/make.sh OUT
#
# GPUS=4            GPUs of this machine (1); on a CPU, processes
# MINUTES="9 9 3"   of the three stages below, by the clock
# STEPS="S T U V W" instead of minutes: of the Thinker (two runs), Code2Wav, the Talker (two runs). The same steps, GPUS
#                   and WORKERS draw the same batches anywhere
# DEVICE=cpu        days instead of minutes
# WORKERS=13        processes a GPU that draw batches
# SMALL=1           next to nothing of everything, to see that it runs
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: make.sh OUT}
mkdir -p "$out"
export PYTHONPATH="$here/../..:$here${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
gpus=${GPUS:-1} workers=${WORKERS:-13}
learners=$((gpus > 1 ? gpus - 1 : 1))
read -r -a minutes <<<"${MINUTES:-9 9 3}"
read -r -a steps <<<"${STEPS:-}"
bank="--words 120 --sentences 7000 --questions 80" heard="--words 20 --sentences 1000 --questions 10"
learn="--compile" talks="" voice=""
if [ -n "${SMALL:-}" ]; then
  bank="--words 1 --sentences 30 --questions 1" heard=$bank workers=1
  learn="--tokens 1200 --patches 2400 --held-out 1 --every 1" talks="--sequences 4 --every 1"
  voice="--batch 2 --every 1"
  steps=(2 2 2 2 2)
fi

# How long: of the run with number $1 in STEPS, in the stage $2.
long() {
  if [ ${#steps[@]} -gt 0 ]; then echo "--steps ${steps[$1]}"; else echo "--minutes ${minutes[$2]}"; fi
}

# $1 processes of a training script.
train() {
  python3 -m torch.distributed.run --standalone --nproc-per-node "$1" "$here/$2" --device "${DEVICE:-cuda}" \
    --files "$out/files" --workers "$workers" "${@:3}"
}

# shellcheck disable=SC2086  # options, split on purpose
banks() {
  [ -f "$out/files/config.json" ] || python3 "$here/checkpoint_files.py" "$out/files"
  [ -f "$out/bank/index.npz" ] || python3 "$here/bank.py" "$out/bank" $bank --processes "$(nproc --all)"
  [ -f "$out/heard/index.npz" ] ||
    python3 "$here/bank.py" "$out/heard" $heard --held-out --seed 2 --processes "$(nproc --all)"
}

# shellcheck disable=SC2086
thinker() { # run: 1 or 2; the rest: options
  [ -f "$out/t$1/scores.json" ] ||
    train "$learners" train_thinker.py --bank "$out/bank" --held-out-bank "$out/heard" --out "$out/t$1" \
      --state "$out/state.pt" --lr 2.5e-3 $learn "${@:2}" >"$out/thinker$1.log" 2>&1
}

# shellcheck disable=SC2046,SC2086
speech() { # what is said, and how codes become waves; on the last GPU
  [ -f "$out/phrases.npz" ] || python3 "$here/speech.py" "$out/phrases.npz" >"$out/phrases.log"
  [ -f "$out/speech/code2wav.safetensors" ] ||
    train 1 train_code2wav.py --phrases "$out/phrases.npz" --out "$out/speech" $voice $(long 2 0) \
      >"$out/code2wav.log" 2>&1
  [ -f "$out/own.npz" ] ||
    python3 "$here/own_voice.py" "$out/own.npz" --phrases "$out/phrases.npz" --files "$out/files" \
      --code2wav "$out/speech/code2wav.safetensors" >"$out/own.log"
}

# shellcheck disable=SC2086
talker() { # processes; Thinker's directory; its own; the rest: options
  [ -f "$3/talker.safetensors" ] ||
    train "$1" train_talker.py --phrases "$out/phrases.npz" --thinker "$2" --bank "$out/bank" --out "$3" \
      --media-every 2 $talks "${@:4}" >"$3.log" 2>&1
}

step() { echo "$(date +%T) $* (logs: $out/*.log)"; }

on_last() { CUDA_VISIBLE_DEVICES=$((gpus - 1)) "$@"; }

# What still runs in the background ends with this script: with -m a process group of its own.
finish() {
  local status=$? job
  for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
  [ "$status" = 0 ] || echo "stopped: the end of a log in $out says why; the same command goes on from here" >&2
}
set -m
trap finish EXIT
# shellcheck disable=SC2046
{
  step "0: voices to learn from"
  banks
  step "1: eyes, ears and Thinker; Code2Wav"
  on_last speech &
  thinker 1 --span 0 0.5 $(long 0 0)
  wait $!
  step "2: Thinker, with its own voice; Talker"
  # The Talker learns on the Thinker of stage 1 meanwhile, whose words stay as they are.
  on_last talker 1 "$out/t1" "$out/talker1" $(long 3 1) &
  thinker 2 --span 0.5 1 --own-voice "$out/own.npz" --keep-words $(long 1 1)
  wait $!
  step "3: Talker"
  talker "$gpus" "$out/t2" "$out/talker2" --resume "$out/talker1" --seed 1 --lr 5e-4 --warm-up 100 $(long 4 2)
}
cp "$out/talker2/talker.safetensors" "$out/speech/"
python3 "$here/assemble.py" "$out/tiny" --thinker "$out/t2" --speech "$out/speech"
