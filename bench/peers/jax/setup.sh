#!/bin/sh
# Makes the virtual environment of the JAX peer in bench/peers/jax/.venv (git-ignored). Python 3.11 or newer.
#   bench/peers/jax/setup.sh [python3]
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
"${1:-python3}" -m venv "$here/.venv"
"$here/.venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
"$here/.venv/bin/python" -c 'import jax; print("jax", jax.__version__, jax.devices())'
