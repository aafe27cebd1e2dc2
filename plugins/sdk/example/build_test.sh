#!/bin/bash
# Builds the example plugin outside of the tree, against an installation in a temporary prefix, and looks at what came
# out: only the entry symbol is exported, and edit-worker can describe it (plugins/host/worker_test looks closer).
# usage: build_test.sh BUILD_FOLDER OUTPUT_FOLDER. The plugin is left at OUTPUT_FOLDER/scale.so for other tests.
set -eu
build=$1
output=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" --component sdk > "$work/log"
cp -r "$here" "$work/source"
cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_FLAGS="${EDITD_TEST_FLAGS:-}" >> "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
cmake --build "$work/build" >> "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

plugin=$(find "$work/build" -name scale.so)
symbols=$(nm -D --defined-only "$plugin" | awk '{print $3}')
[ "$symbols" = edit_plugin_entry_v1 ] || { echo "scale.so exports: $symbols"; exit 1; }
if grep -r "$(dirname "$(dirname "$(dirname "$here")")")" "$work/prefix/lib/cmake"; then
  echo "the installed package names the source tree"
  exit 1
fi
mkdir -p "$output"
cp "$plugin" "$output/"
echo "built $output/scale.so"
