#!/usr/bin/env bash
# Makes the virtual environment and runs the tests; arguments go to pytest (launch/test.sh tests/cli -x).
# Needs Python 3.10 or 3.11 and pip; writes .venv (or $VENV).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/setup.sh
source "$root/launch/setup.sh"
ms_omni_setup "$root" "[test]"

cd "$root"
"$ms_omni_python" -m pytest "$@"
