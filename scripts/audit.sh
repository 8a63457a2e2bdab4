#!/usr/bin/env bash
# Looks every package installed in .venv up in the database of known vulnerabilities: bash scripts/audit.sh
# VERSIONS and PYTHON choose another environment: see environment.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

if ! .venv-audit/bin/python -m pip_audit --version >/dev/null 2>&1; then
  python -m venv --clear .venv-audit
  .venv-audit/bin/python -m pip install --quiet 'pip-audit>=2.7,<3'
fi
# Strict, or a package that the database does not answer for would pass.
python -m pip list --exclude-editable --format=freeze > .venv-audit/installed.txt
.venv-audit/bin/python -m pip_audit --strict --disable-pip --no-deps --requirement .venv-audit/installed.txt
