#!/bin/bash
# Submits a whole project to Slurm: tiles, one job for each fold, inference, and what joins them.
#
#   pipeline.sh HUBMAP mine.toml slides.csv work 4 16
#
# HUBMAP: folder of training slides. mine.toml: settings. slides.csv: the slides to predict. work: folder for everything.
# 4: folds of the settings. 16: tasks of the arrays over slides. Options for sbatch, such as an account, a partition, memory
# or a time limit, go into SBATCH_ACCOUNT, SBATCH_PARTITION, … or into SBATCH_OPTIONS; tasks of training may have others in
# SBATCH_TRAIN_OPTIONS, such as --gres=gpu:1.
set -euo pipefail
if [ $# != 6 ]; then
  echo "usage: $0 HUBMAP CONFIG.toml SLIDES.csv WORK FOLDS TASKS" >&2
  exit 2
fi
slides=$1 config=$2 manifest=$3 work=$4 folds=$5 tasks=$6
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work/logs"
read -ra options <<< "${SBATCH_OPTIONS:-}"
read -ra train_options <<< "${SBATCH_TRAIN_OPTIONS:-}"

# submit AFTER OPTIONS... -- COMMAND...: the id of a job that begins when the one before has done well.
submit() {
  local after=$1 more=()
  shift
  while [ "$1" != -- ]; do more+=("$1"); shift; done
  shift
  [ -z "$after" ] || more+=("--dependency=afterok:$after" --kill-on-invalid-dep=yes)
  sbatch --parsable --output="$work/logs/%x-%A_%a.log" "${options[@]}" "${more[@]}" "$here/array.sh" "$@"
}

data_gen=(hubmap-data-gen --config "$config" --input "$slides" --output "$work/input")
cut=$(submit '' --job-name=cut --array="0-$((tasks - 1))" -- "${data_gen[@]}" --shard auto)
split=$(submit "$cut" --job-name=split --array=0 -- "${data_gen[@]}")
# The task's number is known when it runs.
# shellcheck disable=SC2016
train=$(submit "$split" --job-name=train --array="0-$((folds - 1))" "${train_options[@]}" -- \
  bash -c 'exec hubmap-train --config "$1" --set "data.splits_dir=$2/input/SPLITS" --fold "$SLURM_ARRAY_TASK_ID" \
    --run "$2/folds/$SLURM_ARRAY_TASK_ID"' train "$config" "$work")
runs=()
for ((fold = 0; fold < folds; fold++)); do runs+=("$work/folds/$fold"); done
collect=$(submit "$train" --job-name=collect --array=0 -- hubmap-train collect --out "$work/model" "${runs[@]}")
infer=$(submit "$collect" --job-name=infer --array="0-$((tasks - 1))" -- \
  hubmap-infer --model "$work/model" --manifest "$manifest" --out "$work/results" --shard auto)
merge=$(submit "$infer" --job-name=merge --array=0 -- hubmap-merge --manifest "$manifest" --out "$work/results")
echo "cut $cut, split $split, train $train, collect $collect, infer $infer, merge $merge"
