#!/bin/bash
# A task of a Slurm array: runs the command that follows it, and lets Slurm run it again when it was interrupted.
#
#   sbatch --array=0-15 array.sh hubmap-infer --model model --manifest slides.csv --out results --shard auto
#
# Slurm sends SIGTERM two minutes before the time limit and on preemption; the command saves what it has, ends with 75, and
# the task goes back into the queue. So does one that was killed, for lack of memory or by someone, but three times at most.
# One that ended with 71 wants more memory than the array has: submit the same array again with more (--mem); the slides that
# are done stay done.
# A task whose node is lost goes back by Slurm's own --requeue. Whatever happens, the same command goes on where it was.
#SBATCH --job-name=hubmap
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
set -u

"$@" &
command=$!
# When Slurm ends a task that is back in the queue, the command is gone already.
trap 'kill -TERM "$command" 2> /dev/null' TERM
# A trap ends `wait`; the command itself is waited for until it is gone.
wait "$command"
code=$?
while kill -0 "$command" 2> /dev/null; do
  wait "$command"
  code=$?
done

if [ "$code" = 75 ] || { [ "$code" = 137 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 3 ]; }; then
  echo "ended with $code; task $SLURM_ARRAY_TASK_ID goes back into the queue" >&2
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
  # Slurm ends this script when it has put the task back.
  sleep 600
fi
exit "$code"
