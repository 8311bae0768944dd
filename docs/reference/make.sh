#!/usr/bin/env bash
# Makes cli.md and settings.md anew from the executables in a folder and the settings.
#   docs/reference/make.sh [FOLDER]     FOLDER with the executables, by default target/debug
# cargo build && docs/reference/make.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-target/debug}
{
  printf '# Command line\n\n'
  printf 'What every executable says with `--help`. This page is made by `docs/reference/make.sh`; tests hold it to them.\n\n'
  for path in bins/*/; do
    "$folder/hubmap-$(basename "$path")" --generate markdown
  done
} > docs/reference/.cli.md
mv docs/reference/.cli.md docs/reference/cli.md
cargo run --quiet -p hubmap-cli --example settings > docs/reference/.settings.md
mv docs/reference/.settings.md docs/reference/settings.md
