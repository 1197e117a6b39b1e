#!/usr/bin/env bash
# A server and its page in the browser, on a fresh machine with one command; Ctrl-C ends both.
#   launch/serve_demo.sh                 the tiny model that is part of the package
#   launch/serve_demo.sh --model DIR     flags are those of ms-omni serve
# Needs Python 3.10 or 3.11 and pip; writes .venv-demo (or $VENV): Gradio wants Pillow below 13, which reads pictures
# otherwise than the one that the package takes for itself. SERVER_PORT (8901) and PAGE_PORT (7860): of 127.0.0.1.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export VENV=${VENV:-$root/.venv-demo}
# shellcheck source=launch/setup.sh
source "$root/launch/setup.sh"
ms_omni_setup "$root" "[serve,demo]"

server_port=${SERVER_PORT:-8901} page_port=${PAGE_PORT:-7860}
server=http://127.0.0.1:$server_port

"$ms_omni_python" -m ms_omni serve --port "$server_port" "$@" &
server_pid=$!
page_pid=
end() {
    trap - EXIT INT TERM
    # shellcheck disable=SC2086 # there may be no page yet
    kill $page_pid "$server_pid" 2>/dev/null || true
    wait
}
trap end EXIT
trap 'end; exit 130' INT
trap 'end; exit 143' TERM

is_ready() {
    "$ms_omni_python" -c 'import sys, urllib.request; urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5)' \
        "$server/health" 2>/dev/null
}
until is_ready; do
    kill -0 "$server_pid" 2>/dev/null || { echo "The server has ended: its last line says why." >&2; exit 1; }
    sleep 1
done

"$ms_omni_python" -m ms_omni demo --server "$server" --port "$page_port" &
page_pid=$!
wait -n "$server_pid" "$page_pid"
