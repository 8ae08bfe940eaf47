#!/usr/bin/env bash
# Installs a requirements file into a virtual environment: about a minute and 1 GB, once for each state of that file.
# Usage: install.sh VENV_DIR REQUIREMENTS
set -euo pipefail

venv=${1:?usage: install.sh VENV_DIR REQUIREMENTS}
wanted=${2:?usage: install.sh VENV_DIR REQUIREMENTS}

# Written last, so that an installation that was cut short is made again.
cmp -s "$wanted" "$venv/installed.txt" && exit 0
command -v python3 >/dev/null || { echo "The harnesses need python3 (3.11 or newer) with venv: install it." >&2; exit 1; }

python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install -r "$wanted"
cp "$wanted" "$venv/installed.txt"
