#!/bin/sh
# Tests of the native engine with its generated C under AddressSanitizer and UndefinedBehaviorSanitizer: `npm run
# test:sanitize`. Needs GCC (CC, or else gcc) and its libasan. Arguments go to Jest in place of the suites below.
set -eu
cd "$(dirname "$0")/.."

cc=${CC:-gcc}
library=$($cc -print-file-name=libasan.so)
if ! [ -f "$library" ]; then
  echo "test:sanitize needs libasan, which $cc does not come with." >&2
  exit 1
fi
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT

# Node itself is no program of the sanitizer's: its runtime has to be loaded first. The compiler is no part of the test.
export CC="env -u LD_PRELOAD $cc"
export OUTERLOOP_CACHE="$cache"
export OUTERLOOP_NATIVE_FLAGS='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g1'
export ASAN_OPTIONS='detect_leaks=0:abort_on_error=0:exitcode=99'
export UBSAN_OPTIONS='print_stacktrace=1'
export OUTERLOOP_REQUIRE="${OUTERLOOP_REQUIRE:+$OUTERLOOP_REQUIRE,}native"

if [ $# -eq 0 ]; then
  set -- -t '^native' test/engines/conformance test/engines/derivatives test/engines/ops
fi
LD_PRELOAD="$library" node node_modules/jest/bin/jest.js --selectProjects quick --runInBand --testTimeout=300000 "$@"
