#!/usr/bin/env bash
# Builds the source archive, a wheel from it, and tries the wheel in an empty environment.
# usage: check-package.sh PYTHON FOLDER (PYTHON has hatchling)
set -euo pipefail
python="$1"
folder="$2"
pip=(-m pip -qq --no-input --disable-pip-version-check)

rm -rf "$folder"
mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
"$python" -m hatchling build --target sdist --directory "$folder" >"$folder/build.log" 2>&1 || {
    cat "$folder/build.log"
    exit 1
}
"$python" "${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$folder" "$folder"/moa-*.tar.gz
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" "${pip[@]}" install "$folder"/moa-*.whl
cd "$folder"
for kind in agents graphs evals; do
    listed="$(venv/bin/moa list "$kind")"
    for file in "$OLDPWD/$kind"/*.yaml; do
        grep -q "$(basename "$file" .yaml)" <<<"$listed" || {
            echo "the wheel lacks $file" >&2
            exit 1
        }
    done
done
[[ "$(venv/bin/moa show sample)" == *"# items: 40"* ]] || {
    echo "the wheel lacks the data of evals/sample.yaml" >&2
    exit 1
}
venv/bin/moa --version
echo "The wheel carries the whole catalogue."
