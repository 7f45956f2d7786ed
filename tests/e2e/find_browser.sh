#!/bin/sh
# The browser tests need a Chromium: use the one on the path, else install one (Debian's package where we are
# root, else Playwright's own build).
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null && exit 0
fi
.venv/bin/python -m playwright install chromium && exit 0
echo "No browser for the page tests: install Chromium, then run make test again." >&2
exit 1
