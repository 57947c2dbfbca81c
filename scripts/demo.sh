#!/usr/bin/env bash
# Runs Self-MoA and MoA over the embedded model and prints answers and traces.
# usage: demo.sh FOLDER-WITH-MOA QUESTION
set -euo pipefail
moa="$1/moa"
question="$2"

ask() {
    printf '\n$ moa run %s "%s" --trace\n' "$1" "$question"
    "$moa" run "$1" "$question" --models scripts/demo-models.yaml -m small --no-store --trace
}

echo "The model is SmolLM2-135M: real, and small enough for any machine, but no judge of what mixing brings."
echo "Bind a better one with one flag, such as -m ollama:llama3.1 or -m openai:gpt-5-nano."
ask self-moa
ask moa
