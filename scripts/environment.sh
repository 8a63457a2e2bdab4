# Sourced by the other shell scripts: makes .venv with the project and its extra "test" once, then puts it on PATH.
# PYTHON=/path/to/python chooses an interpreter; without it the first of 3.12, 3.11 and 3.10 that there is.

environment_python() {
  local candidate
  for candidate in ${PYTHON:-python3.12 python3.11 python3.10 python3}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: no Python 3.10, 3.11 or 3.12 found: install one, or name it: PYTHON=/path/to/python bash $0" >&2
  return 1
}

environment_install() {
  local wanted
  wanted=$(cat setup.cfg pyproject.toml | cksum)
  if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    local python
    python=$(environment_python)
    echo "installing into .venv with $python (TensorFlow and its company: a few minutes, 4 GB)"
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --upgrade pip
    .venv/bin/python -m pip install --quiet --editable '.[test]'
    echo "$wanted" >.venv/installed
  fi
}

environment_install
export PATH="$PWD/.venv/bin:$PATH"
