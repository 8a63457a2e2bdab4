#!/usr/bin/env bash
# Passes the tests on a fresh machine: bash scripts/test.sh [--slow] [pytest options]
# --slow runs the tests that take minutes instead of the others.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

marker="not slow"
processes=(--numprocesses=auto --maxprocesses=4 --dist=loadfile)
if [ "${1:-}" = "--slow" ]; then
  marker="slow"
  processes=() # they use all cores, and some of them gigabytes
  shift
fi
ruff check .
ruff format --check .
python -m pytest -m "$marker" "${processes[@]}" "$@"
