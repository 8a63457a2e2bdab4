# Sourced by the other shell scripts: makes .venv with the project and its extras "docs" and "test" once, then puts it on PATH.
# VERSIONS=lowest makes .venv-lowest, with the lowest version of every dependency that setup.cfg allows;
# VERSIONS=next makes .venv-next, with the newest TensorFlow and Keras that there are, whatever setup.cfg allows.
# PYTHON=/path/to/python chooses an interpreter, whose environments are its own (.venv-3.13, .venv-lowest-3.13);
# without it the first of 3.12, 3.11, 3.10 and 3.13 that there is.

environment_fail() { # MESSAGE
  echo "error: $1" >&2
  exit 2
}

environment_version() { # PYTHON: prints the version, such as 3.12, of an interpreter that the project runs on
  "$1" -c 'import sys
if (3, 10) <= sys.version_info[:2] <= (3, 13):
    print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

environment_identity() { # PYTHON: prints what an interpreter has in common with its environments alone
  "$1" -c 'import os, sys; print(os.path.realpath(sys.executable), sys.version)' 2>/dev/null
}

environment_python() { # prints the interpreter to make an environment with
  local candidate without_venv=
  for candidate in "${PYTHON:-python3.12}" python3.11 python3.10 python3.13 python3; do
    if [ -n "$(environment_version "$candidate")" ]; then
      if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$candidate"
        return
      fi
      without_venv=$candidate
    elif [ -n "${PYTHON:-}" ]; then
      environment_fail "PYTHON=$PYTHON is no Python 3.10 to 3.13 that runs: name another one"
    fi
    [ -z "${PYTHON:-}" ] || break
  done
  if [ -n "$without_venv" ]; then
    environment_fail "$without_venv cannot make environments, it lacks ensurepip or venv: install them (on Debian and\
 Ubuntu: apt-get install python3-venv), or name another Python: PYTHON=/path/to/python bash $0"
  fi
  environment_fail "no Python 3.10 to 3.13 found: install one, or name it: PYTHON=/path/to/python bash $0"
}

environment_lowest() { # every "name>=version,<bound" of setup.cfg as a constraint name==version
  sed -nE 's/^ +([A-Za-z0-9_.-]+)(\[[a-z-]+\])?>=([0-9.]+),<.*/\1==\3/p' setup.cfg
}

environment_works() { # FOLDER: whether pip is there, of this very folder (not moved, not copied) and of PYTHON
  case "$("$1/bin/pip" --version 2>/dev/null)" in
    *" from $(pwd -P)/$1/"*) ;;
    *) return 1 ;;
  esac
  [ -z "${PYTHON:-}" ] || [ "$(environment_identity "$1/bin/python")" = "$(environment_identity "$PYTHON")" ]
}

environment_install() { # FOLDER CONSTRAINTS [DAY]
  local wanted python
  wanted=$( (cat setup.cfg setup.py pyproject.toml scripts/environment.sh && pwd -P && echo "${3:-}") | cksum)
  if ! environment_works "$1"; then
    python=$(environment_python)
    echo "making $1 with $python"
    "$python" -m venv --clear "$1"
  fi
  if [ "$(cat "$1/installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing into $1 (TensorFlow and its company: a few minutes, 4 GB)"
    "$1/bin/python" -m pip install --quiet --upgrade pip
    "$1/bin/python" -m pip install --quiet --constraint "$2" --no-compile --editable '.[docs,test]'
    [ -z "${3:-}" ] || environment_next "$1/bin/python"
    # pip would compile all that there is, for two minutes. What programs import has to be compiled once, or every start
    # would do it where PYTHONDONTWRITEBYTECODE is set, for half a minute.
    TF_CPP_MIN_LOG_LEVEL=3 env -u PYTHONDONTWRITEBYTECODE "$1/bin/python" -c 'import fada_tf.training.run'
    echo "$wanted" >"$1/installed"
  fi
  export PATH="$PWD/$1/bin:$PATH"
}

environment_next() { # PYTHON: newer than tf-models-official allows, which pip tells in errors that end nothing
  "$1" -m pip install --quiet --upgrade tensorflow tensorflow-text tf-keras tensorflow-serving-api
  "$1" -m pip uninstall --quiet --yes keras
  "$1" -m pip install --quiet --upgrade --force-reinstall --no-deps --pre keras-nightly
  "$1" -m pip list 2>/dev/null | grep -E '^(keras|tensorflow|tf[_-])'
}

suffix=
if [ -n "${PYTHON:-}" ]; then
  environment_python >/dev/null
  suffix=-$(environment_version "$PYTHON")
fi
case "${VERSIONS:-newest}" in
  newest) environment_install ".venv$suffix" /dev/null ;;
  lowest) environment_install ".venv-lowest$suffix" <(environment_lowest) ;;
  next) environment_install ".venv-next$suffix" /dev/null "$(date +%F)" ;;
  *) environment_fail "VERSIONS=$VERSIONS: choose newest, lowest or next" ;;
esac
