#!/usr/bin/env bash
# Makes .venv and installs Auscult in it. Quick when nothing changed. Usage: config/setup.sh [EXTRA ...]
# Extras are those of pyproject.toml; `test` also looks for a Chromium for the browser tests.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv
say() { printf '%s\n' "$*" >&2; }
fail() { say "Set-up stopped: $1"; say "What to do: $2"; exit 1; }

install_debian() { # packages for which a machine without them needs root
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing with apt-get: $*"
        (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@") >&2
    else
        return 1
    fi
}

find_python() {
    for name in python3.11 python3.12 python3.13 python3; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"; return
        fi
    done
    fail "Python 3.11 or newer was not found." "Install it (Debian: apt-get install python3 python3-venv) and run the same command again."
}

check_disk() {
    free=$(df -Pk . | awk 'NR==2 {print $4}')
    [ "$free" -ge 4000000 ] || [ -f "$venv/installed" ] || fail "less than 4 GB are free on this disk." "Free some space, or clone Auscult onto a larger disk."
}

check_pango() { # WeasyPrint writes the PDFs with it
    local look='import ctypes.util,sys; sys.exit(not all(ctypes.util.find_library(n) for n in ("pango-1.0","pangoft2-1.0","gobject-2.0")))'
    "$python" -c "$look" && return
    install_debian libpango-1.0-0 libpangoft2-1.0-0 fonts-dejavu-core && "$python" -c "$look" && return
    fail "the library pango, which writes the PDF reports, is missing." "Run: sudo apt-get install -y libpango-1.0-0 libpangoft2-1.0-0 (Debian, Ubuntu), or: brew install pango (macOS)."
}

make_venv() {
    [ -x "$venv/bin/python" ] && return
    say "Making the virtual environment"
    "$python" -m venv "$venv" 2>/dev/null && return
    rm -rf "$venv"
    install_debian python3-venv && "$python" -m venv "$venv" && return
    fail "Python cannot make a virtual environment." "Run: sudo apt-get install -y python3-venv"
}

install_packages() {
    local what="." pip=("$venv/bin/python" -m pip)
    [ $# -eq 0 ] || what=".[$(IFS=,; echo "$*")]"
    say "Installing $what (a minute or two the first time)"
    if [ -x "$venv/bin/uv" ] || "${pip[@]}" install -q uv >&2; then
        if [ -n "${PIP_FIND_LINKS:-}" ] && [ -d "$PIP_FIND_LINKS" ]; then export UV_FIND_LINKS="$PIP_FIND_LINKS"; fi
        VIRTUAL_ENV="$PWD/$venv" "$venv/bin/uv" pip install -q -c constraints.txt -e "$what" >&2 &&
            VIRTUAL_ENV="$PWD/$venv" "$venv/bin/uv" pip install -q -c constraints.txt --no-deps torchxrayvision lifelines >&2 && return
        say "uv could not install everything; trying pip."
    fi
    "${pip[@]}" install -q -c constraints.txt -e "$what" >&2 &&
        "${pip[@]}" install -q -c constraints.txt --no-deps torchxrayvision lifelines >&2 && return
    fail "the packages could not be installed; the reason stands above." "Check the network or the package index that pip is set to use, then run the same command again."
}

find_chromium() { # browser tests are listed as not run when there is none
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null && return
    install_debian chromium && return
    "$venv/bin/python" -m playwright install chromium >&2 || say "No Chromium was found: the browser tests will be listed as not run."
}

wanted="$* $(cat constraints.txt pyproject.toml config/setup.sh | cksum)"
for extra in "$@"; do [ "$extra" != test ] || test_wanted=1; done
# What a fuller set-up installed serves a smaller one too.
if [ -f "$venv/installed" ] && { [ "$(cat "$venv/installed")" = "$wanted" ] || { [ $# -eq 0 ] && [ "$(cat "$venv/installed")" = "test ${wanted# }" ]; }; }; then exit 0; fi
python=$(find_python)
check_disk
check_pango
make_venv
install_packages "$@"
[ -z "${test_wanted:-}" ] || find_chromium
printf '%s' "$wanted" > "$venv/installed"
