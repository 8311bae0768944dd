#!/usr/bin/env bash
# Trains four folds on synthetic slides and prints the Dice of the held-out ones.
#
# learn.sh FOLDER      # is made; TRANSFORM and EPOCHS change what is trained, FOLD trains only one
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
bin=${CARGO_TARGET_DIR:-$here/target}/release
mkdir -p "$1"
cd "$1"
"$bin/hubmap-demo" slides --out HUBMAP --count 16 --size 3072x3072 --glomeruli-per-mm2 9 --stain-variation 0.3
cat > four.toml <<'TOML'
[data_gen]
n_drawn_folds = 4
[data]
splits_dir = "input/SPLITS"
folds = ["0", "1", "2", "3"]
TOML
configs=(--config "$here/configs/demo.toml" --config four.toml)
"$bin/hubmap-data-gen" "${configs[@]}" --input HUBMAP --output input
run=$("$bin/hubmap-train" "${configs[@]}" --set "data.train_transform=${TRANSFORM:-light_scale}" \
  --set "train.epochs=${EPOCHS:-40}" --set train.valid_every=4 --out output ${FOLD:+--fold "$FOLD"})
for history in "$run"/fold_*/history.csv; do
  echo "$history"
  awk -F, '$5 != "" { print "epoch", $1, "raw", $5, "EMA", $6 }' "$history"
done
echo "$run/curves.png"
