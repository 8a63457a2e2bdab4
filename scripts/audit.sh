#!/usr/bin/env bash
# Looks every package installed in .venv up in the database of known vulnerabilities: bash scripts/audit.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

if [ ! -x .venv-audit/bin/pip-audit ]; then
  python -m venv .venv-audit
  .venv-audit/bin/python -m pip install --quiet 'pip-audit>=2.7,<3'
fi
# Strict, or a package that the database does not answer for would pass.
python -m pip list --exclude-editable --format=freeze > .venv-audit/installed.txt
.venv-audit/bin/pip-audit --strict --disable-pip --no-deps --requirement .venv-audit/installed.txt
