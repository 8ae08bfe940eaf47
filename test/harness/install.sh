#!/usr/bin/env bash
# Installs the clients of requirements.txt into a virtual environment: about a minute and 1 GB, once for each state of that file.
# Usage: install.sh VENV_DIR
set -euo pipefail

venv=${1:?usage: install.sh VENV_DIR}
wanted=$(dirname "$0")/requirements.txt

# Written last, so that an installation that was cut short is made again.
cmp -s "$wanted" "$venv/installed.txt" && { echo "the harnesses are there already: $venv"; exit 0; }
command -v python3 >/dev/null || { echo "The harnesses need python3 (3.10 or newer) with venv: install it." >&2; exit 1; }

echo "lm-eval, inspect-ai, the OpenAI SDK, into $venv (about a minute) ..."
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install -r "$wanted"
cp "$wanted" "$venv/installed.txt"
