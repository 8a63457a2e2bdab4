# Sourced by the other shell scripts: makes .venv with the project and its extra "test" once, then puts it on PATH.
# VERSIONS=lowest makes .venv-lowest, with the lowest version of every dependency that setup.cfg allows.
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

environment_lowest() { # every "name>=version,<bound" of setup.cfg as a constraint name==version
  sed -nE 's/^ +([A-Za-z0-9_.-]+)>=([0-9.]+),<.*/\1==\2/p' setup.cfg
}

environment_install() { # FOLDER CONSTRAINTS
  local wanted
  wanted=$(cat setup.cfg pyproject.toml | cksum)
  if [ "$(cat "$1/installed" 2>/dev/null)" != "$wanted" ]; then
    local python
    python=$(environment_python)
    echo "installing into $1 with $python (TensorFlow and its company: a few minutes, 4 GB)"
    "$python" -m venv "$1"
    "$1/bin/python" -m pip install --quiet --upgrade pip
    "$1/bin/python" -m pip install --quiet --constraint "$2" --editable '.[test]'
    echo "$wanted" >"$1/installed"
  fi
  export PATH="$PWD/$1/bin:$PATH"
}

case "${VERSIONS:-newest}" in
  newest) environment_install .venv /dev/null ;;
  lowest) environment_install .venv-lowest <(environment_lowest) ;;
  *)
    echo "error: VERSIONS=$VERSIONS: choose newest or lowest" >&2
    exit 2
    ;;
esac
