#!/bin/sh
# Installs TensorBoard, whose own reader the tests of event files use, in test/support/.venv (git-ignored). Needs Python 3.10 or newer
# with venv; as root on Debian and its kin it is installed. Exit codes: 0 done; 1 something failed; 2 this machine cannot have it.
#   scripts/install-tensorboard.sh [python3]
set -eu
cd "$(dirname "$0")/.."
venv=test/support/.venv
python=${1:-python3}
works() { "$venv/bin/python" -c 'from tensorboard.backend.event_processing import event_accumulator' 2>/dev/null; }
has_venv() { "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

if works; then exit 0; fi
if ! has_venv && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv
fi
has_venv || { echo 'install-tensorboard: needs Python 3.10 or newer with venv.' >&2; exit 2; }
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check 'tensorboard==2.21.0' 'protobuf<8' 'numpy<3' 'setuptools<81'
works || { echo 'install-tensorboard: TensorBoard is installed but cannot be imported.' >&2; exit 1; }
