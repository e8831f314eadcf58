#!/usr/bin/env bash
# Makes .venv-peers and installs alibi-detect and NannyML in it: they need older packages than Auscult and each other's
# extras. Quick when nothing changed. `make bench-peers` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=.venv-peers
wanted=$(cksum < benchmarks/peers/requirements.txt)
[ -f "$venv/installed" ] && [ "$(cat "$venv/installed")" = "$wanted" ] && exit 0
[ -x "$venv/bin/python" ] || .venv/bin/python -m venv "$venv"
printf 'Installing alibi-detect and NannyML in %s (some minutes the first time)\n' "$venv" >&2
if [ -n "${PIP_FIND_LINKS:-}" ] && [ -d "$PIP_FIND_LINKS" ]; then export UV_FIND_LINKS="$PIP_FIND_LINKS"; fi
if ! { [ -x .venv/bin/uv ] && VIRTUAL_ENV="$PWD/$venv" .venv/bin/uv pip install -q -r benchmarks/peers/requirements.txt >&2; }; then
    "$venv/bin/python" -m pip install -q -r benchmarks/peers/requirements.txt >&2 || {
        printf 'The peers could not be installed; the reason stands above. Check the package index and run it again.\n' >&2
        exit 1
    }
fi
printf '%s' "$wanted" > "$venv/installed"
