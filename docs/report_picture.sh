#!/usr/bin/env bash
# Makes docs/report.png, the README's picture: a profile of the built-in model on this machine, and the page's upper part
# as Chromium shows it. Needs ms-omni on PATH and Chromium (Debian: apt install chromium).
set -euo pipefail

docs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
ms-omni profile --workload smoke --out . --format html
chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync \
    --hide-scrollbars --force-device-scale-factor=1 --window-size=1000,765 --user-data-dir="$work/chromium" \
    --screenshot="$docs/report.png" "file://$work/profile.html"
