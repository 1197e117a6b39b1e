#!/usr/bin/env bash
# Runs a command with CANN's environment where the image has CANN: toolkit, and NNAL behind it.
set -eo pipefail # no -u: CANN's scripts read variables that nobody has set

load_environment() {
    local file=$1
    shift # a script without arguments of its own reads those of who sources it, and NNAL's looks for options there
    # shellcheck source=/dev/null
    if [[ -r $file ]]; then source "$file"; fi
}

# Where CANN stands; another place in tests
root=${ASCEND_ROOT:-/usr/local/Ascend}
load_environment "$root/ascend-toolkit/set_env.sh"
load_environment "$root/nnal/atb/set_env.sh"

exec "$@"
