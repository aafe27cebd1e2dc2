#!/bin/bash
# Each plugin under the folders given exports its entry and nothing else. usage: symbols_test.sh FOLDER...
set -eu
status=0
count=0
for plugin in $(find "$@" -name '*.so' 2> /dev/null); do
  count=$((count + 1))
  symbols=$(nm -D --defined-only "$plugin" | awk '{print $3}' | tr '\n' ' ')
  if [ "$symbols" != "edit_plugin_entry_v1 " ]; then
    echo "$plugin exports: $symbols"
    status=1
  fi
done
echo "$count plugins"
[ "$count" -gt 0 ] && exit $status
