#!/bin/sh
# Makes the virtual environment of the JAX peer in bench/peers/jax/.venv (git-ignored). Python 3.11 or newer. With a checkout of
# google/learned_optimization, its own meta-training step takes part too; it needs TensorFlow, a gigabyte.
#   bench/peers/jax/setup.sh [python3 [checkout]]
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
"${1:-python3}" -m venv "$here/.venv"
install() { "$here/.venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/$1"; }
install requirements.txt
"$here/.venv/bin/python" -c 'import jax; print("jax", jax.__version__, jax.devices())'
if [ $# -gt 1 ]; then
  install requirements-learned-optimization.txt
  # Not by pip: its own installation asks for versions that no longer exist.
  checkout=$(CDPATH= cd -- "$2" && pwd)
  mkdir -p "$here/.venv/checkouts"
  ln -sfn "$checkout/learned_optimization" "$here/.venv/checkouts/learned_optimization"
fi
