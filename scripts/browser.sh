#!/usr/bin/env bash
# Finds a Chromium for the test that opens a report, or installs Debian's where it may. Without one the test is skipped.
# usage: browser.sh
set -euo pipefail

without() {
    echo "No Chromium here, so the test of the report in a browser is skipped: $1. \$MOA_BROWSER may name one." >&2
    exit 0
}

[ -z "${MOA_BROWSER:-}" ] || exit 0
for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
    ! command -v "$name" >/dev/null || exit 0
done
command -v apt-get >/dev/null || without "there is no apt-get to install it with"
[ "$(id -u)" = 0 ] || without "only root may install it (apt-get install chromium)"
echo "Installing Chromium for the test of the report ..."
mkdir -p build
export DEBIAN_FRONTEND=noninteractive
{ apt-get update && apt-get install --yes --no-install-recommends chromium; } >build/browser.log 2>&1 ||
    without "apt-get failed, and says why in build/browser.log"
