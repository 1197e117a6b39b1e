#!/usr/bin/env bash
# Runs a command with MindSpore's Ascend backend over emulated CANN libraries (docs/emulator.md):
#   launch/emulated.sh ms-omni understand --device Ascend ...     launch/emulated.sh python -m pytest tests/ascend
# VENV names the environment (default .venv here), PYTHON the interpreter. Needs g++ and binutils the first time.
# EMULATED_SOC (Ascend910B2), EMULATED_CARDS (8), EMULATED_MEMORY_GB (of the card), EMULATED_CORES (32), EMULATED_LATE=1,
# EMULATED_TRACE=FILE, EMULATED_SUMMARY=1, EMULATED_HOME (where the libraries are built).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ $# -eq 0 ]]; then
    echo "usage: launch/emulated.sh COMMAND...   (for example: launch/emulated.sh ms-omni doctor)" >&2
    exit 2
fi

# The environment whose MindSpore is used; its ms-omni and python come first on PATH.
if [[ -n ${PYTHON:-} ]]; then
    python=$(command -v "$PYTHON") || { echo "PYTHON=$PYTHON is not an interpreter" >&2; exit 1; }
elif [[ -x ${VENV:-$root/.venv}/bin/python ]]; then
    python=${VENV:-$root/.venv}/bin/python
else
    python=$(command -v python || command -v python3) || {
        echo "No Python: make the environment with launch/test.sh, or name one with VENV or PYTHON." >&2
        exit 1
    }
fi
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
home=$(env -u LD_PRELOAD "$python" "$root/tests/ascend_emulator/build.py")

export EMULATED=1
PATH=$(dirname "$python"):$PATH:$home/cann/latest/compiler/ccec_compiler/bin
export PATH
export ASCEND_HOME_PATH=$home/cann/latest
export ASCEND_OPP_PATH=$home/cann/latest/opp/
export ASCEND_AICPU_PATH=$home/cann/latest
export LD_LIBRARY_PATH=$home/cann/latest/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PYTHONPATH=$root/tests/ascend_emulator/python:$home/python:$home/cann/latest/opp/built-in/op_impl/ai_core/tbe${PYTHONPATH:+:$PYTHONPATH}
# Mapping of virtual memory is not emulated.
export MS_ALLOC_CONF=${MS_ALLOC_CONF-enable_vmm:False}
# More threads of numpy's BLAS than one only wait for each other beside MindSpore's own (43 s instead of 57 for a spoken
# answer, two cores).
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS-1} OMP_NUM_THREADS=${OMP_NUM_THREADS-1}
export LD_PRELOAD=$home/cann/latest/lib64/libascendcl.so${LD_PRELOAD:+:$LD_PRELOAD}
exec "$@"
