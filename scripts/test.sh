#!/usr/bin/env bash
# Passes the tests on a fresh machine: bash scripts/test.sh [--slow] [pytest options]
# --slow runs the tests that take minutes instead of the others. VERSIONS and PYTHON: see environment.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

if [ "${1:-}" = "--slow" ]; then
  shift
  set -- -m slow "$@" # one after the other: they use all cores, and some of them gigabytes
else
  set -- -m "not slow" --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
fi
ruff check .
ruff format --check .
mypy
# Warnings are errors, but for an advertisement of another generator.
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
python -m pytest "$@"
