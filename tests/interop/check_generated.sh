#!/usr/bin/env bash
# Has zsh and fish read the completions of every executable in a folder, and mandoc and groff the man pages.
#   tests/interop/check_generated.sh target/debug
set -euo pipefail
folder=$1
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
n=0
for executable in "$folder"/hubmap-*; do
  if [ ! -f "$executable" ] || [ ! -x "$executable" ]; then continue; fi
  for what in man zsh fish; do
    "$executable" --generate "$what" > "$place/$what"
  done
  zsh -n "$place/zsh"
  fish --no-execute "$place/fish"
  mandoc -T lint -W error "$place/man"
  # Nothing that a reader would see as a request or an escape.
  if mandoc -T utf8 "$place/man" | sed 's/.\x08//g' | grep -nE '^ *\.(SH|SS|nf|fi|br)|\\f[BRI]'; then
    echo "$executable: roff is left in the man page" >&2
    exit 1
  fi
  n=$((n + 1))
done
[ "$n" -ge 8 ] || { echo "only $n executables in $folder" >&2; exit 1; }
echo "completions and man pages of $n executables are sound"
