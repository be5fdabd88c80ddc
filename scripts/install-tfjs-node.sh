#!/usr/bin/env bash
# Installs @tensorflow/tfjs-node, for engine tfjs:node, where its own installer finds no binaries: Linux, x86-64, glibc.
#
#   scripts/install-tfjs-node.sh
#
# The JavaScript part comes from npm (package.json and the lock file stay as they are), TensorFlow's libraries and headers
# from its Python wheel, and the small addon between the two is compiled here. All of it is kept in OUTERLOOP_CACHE, else
# XDG_CACHE_HOME/outerloop, else ~/.cache/outerloop, so that the next run (after `npm ci`, say) takes seconds and no network. Needs Node, npm, Python 3 with pip and a C++17 compiler (CXX, g++ or clang++); as root on Debian and its kin,
# what is missing is installed. Exit codes: 0 the engine works; 1 something failed; 2 this machine cannot have it. The last
# line says why.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TENSORFLOW=2.15.1
# Of the wheel tensorflow_cpu-2.15.1-cp311-cp311-manylinux_2_17_x86_64; another file is refused.
readonly WHEEL_SHA256=54660c074d7241a503e81edfd9f5ef5af88f64051b72e2945f26318c790f2d26
readonly NODE_HEADERS=1.6.0
readonly PACKAGE=node_modules/@tensorflow/tfjs-node

fail() {
  echo "install-tfjs-node: $1" >&2
  exit "${2:-1}"
}

# Both need the same version; ours is that of the lock file.
version=$(node -p "require('@tensorflow/tfjs/package.json').version") || fail 'run "npm ci" first.'

works() {
  TF_CPP_MIN_LOG_LEVEL=2 node -e '
    const tf = require("@tensorflow/tfjs-node");
    const product = tf.matMul([[1, 2], [3, 4]], [[5, 6], [7, 8]]).dataSync().join();
    if (tf.getBackend() !== "tensorflow" || product !== "19,22,43,50") throw new Error(`${tf.getBackend()}: ${product}`);
    console.log(`@tensorflow/tfjs-node ${tf.version["tfjs-node"]} on TensorFlow ${tf.backend().binding.TF_Version}`);'
}

if [[ -f $PACKAGE/package.json && $(node -p "require('./$PACKAGE/package.json').version") == "$version" ]] &&
  works 2>/dev/null; then
  exit 0
fi

[[ $(uname -s) == Linux && $(uname -m) == x86_64 ]] && getconf GNU_LIBC_VERSION >/dev/null 2>&1 ||
  fail "builds on x86-64 Linux with glibc only; elsewhere try: npm install --no-save @tensorflow/tfjs-node@$version" 2

case ${OUTERLOOP_CACHE:-} in /*) cache=$OUTERLOOP_CACHE ;; *)
  case ${XDG_CACHE_HOME:-} in /*) cache=$XDG_CACHE_HOME/outerloop ;; *) cache=$HOME/.cache/outerloop ;; esac ;;
esac
readonly built=$cache/tfjs-node-$version-tensorflow-$TENSORFLOW
mkdir -p "$cache" || fail "cannot write to $cache; set OUTERLOOP_CACHE to a folder that can be written."
# Beside its destination, so that moving it there is one step; whatever ends this script, it goes.
work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$work"' EXIT

compiler() {
  local candidate
  for candidate in ${CXX:-} g++ clang++ c++; do
    command -v "$candidate" >/dev/null && echo "$candidate" && return
  done
  return 1
}
has_pip() { python3 -m pip --version >/dev/null 2>&1; }

# Asks the system for the tools that are missing, where that needs no password.
install_tools() {
  local missing=()
  compiler >/dev/null || missing+=(g++)
  has_pip || missing+=(python3-pip)
  if [[ ${#missing[@]} -eq 0 ]]; then return; fi
  if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    echo "== installing ${missing[*]}"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } ||
      fail "could not install ${missing[*]}; install them by hand."
  else
    fail "needs ${missing[*]}; install them and run this again." 2
  fi
}

# TensorFlow's two libraries and the headers of its C interface, from the wheel in $1, to $2.
unpack() {
  python3 - "$1" "$2" <<'PYTHON'
import os, shutil, sys, zipfile

LIBRARIES = ('tensorflow/libtensorflow_cc.so.2', 'tensorflow/libtensorflow_framework.so.2')
HEADERS = tuple('tensorflow/include/' + part for part in ('tensorflow/c/', 'tensorflow/core/platform/', 'tsl/c/', 'tsl/platform/'))
wheel, target = sys.argv[1:]
found = set()
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name in LIBRARIES:
            place = os.path.join('lib', os.path.basename(name))
        elif name.startswith(HEADERS) and name.endswith('.h'):
            place = name[len('tensorflow/'):]
        else:
            continue
        found.add(name)
        path = os.path.join(target, place)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with archive.open(name) as source, open(path, 'wb') as copy:
            shutil.copyfileobj(source, copy, 1 << 22)
missing = [name for name in LIBRARIES if name not in found]
if missing:
    sys.exit('the wheel lacks ' + ', '.join(missing))
PYTHON
}

# Where node_api.h is: with Node itself, else from npm.
node_headers() {
  local prefix folder
  prefix=$(node -p 'require("path").resolve(process.execPath, "..", "..")')
  for folder in "$prefix/include/node" /usr/include/node /usr/include/nodejs/src; do
    [[ -f $folder/node_api.h ]] && echo "$folder" && return
  done
  (cd "$work" && npm pack --silent "node-api-headers@$NODE_HEADERS" >/dev/null && tar xzf node-api-headers-*.tgz) &&
    echo "$work/package/include"
}

# The package with what it needs inside it, but for TensorFlow.js: that must be the one Outerloop uses. Installed apart, as
# npm takes an optional peer for granted; without its install script, which fetches binaries from where few may fetch.
javascript() {
  echo "== @tensorflow/tfjs-node $version"
  mkdir "$work/npm"
  echo '{"private":true}' >"$work/npm/package.json"
  (cd "$work/npm" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error "@tensorflow/tfjs-node@$version") ||
    fail 'npm could not install the package.'
  mv "$work/npm/node_modules/@tensorflow/tfjs-node" "$work/tfjs-node"
  rm -rf "$work/npm/node_modules/@tensorflow"
  mkdir -p "$work/tfjs-node/node_modules"
  cp -a "$work/npm/node_modules/." "$work/tfjs-node/node_modules"
}

build() {
  rm -rf "${work:?}"/*
  install_tools
  javascript
  echo "== TensorFlow $TENSORFLOW"
  echo "tensorflow-cpu==$TENSORFLOW --hash=sha256:$WHEEL_SHA256" >"$work/requirements.txt"
  # The wheel of one version of Python, whichever runs here: only its C++ libraries are used.
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --implementation cp --python-version 3.11 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --dest "$work/wheel" --requirement "$work/requirements.txt" ||
    fail "pip could not download tensorflow-cpu $TENSORFLOW, or its checksum is another."
  unpack "$work"/wheel/*.whl "$work/deps" || fail 'the wheel could not be unpacked; is the disk full?'
  rm -r "$work/wheel"
  # Symbol tables of functions that nothing links against are a quarter of the libraries.
  if command -v strip >/dev/null; then strip --strip-unneeded "$work"/deps/lib/*.so.2; fi
  ln -s libtensorflow_cc.so.2 "$work/deps/lib/libtensorflow.so"
  ln -s libtensorflow_framework.so.2 "$work/deps/lib/libtensorflow_framework.so"

  echo '== the addon'
  local headers
  headers=$(node_headers) || fail 'found no node_api.h, and npm could not download it.'
  mkdir -p "$work/lib/napi-v8"
  "$(compiler)" -std=c++17 -O2 -fPIC -shared -DNAPI_VERSION=8 -I"$headers" -I"$work/deps/include" \
    "$work"/tfjs-node/binding/tfjs_backend.cc "$work"/tfjs-node/binding/tfjs_binding.cc -o "$work/lib/napi-v8/tfjs_binding.node" \
    -L"$work/deps/lib" -ltensorflow -ltensorflow_framework "-Wl,-rpath,\$ORIGIN/../../deps/lib" ||
    fail 'the addon did not compile; see above.'

  mkdir "$work/done"
  mv "$work/deps" "$work/lib" "$work/tfjs-node" "$work/done"
  rm -rf "$built"
  mv "$work/done" "$built"
}

# Copied, since Node looks for TensorFlow.js from where a file really is; but for the libraries, which are large.
install() {
  rm -rf "$PACKAGE"
  cp -a "$built/tfjs-node" "$PACKAGE"
  ln -s "$built/deps" "$built/lib" "$PACKAGE"
}

[[ -f $built/lib/napi-v8/tfjs_binding.node ]] || build
install
if ! works 2>/dev/null; then
  # What is in the cache is of another Node or C library, or damaged.
  build
  install
  works || fail "the addon does not load; see above. Remove $built to start anew."
fi
