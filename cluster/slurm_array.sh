#!/bin/sh
# One part of a run an array task: sbatch --array=1-16 slurm_array.sh OUT_FOLDER MODEL INPUT... [FLAGS OF measure]
# Each task writes OUT_FOLDER/part-I.dwm, whole or not at all; when all are there:
#   deadweight merge OUT_FOLDER/part-*.dwm -o run.dwm
# A task that failed is run again by its number: sbatch --array=7 slurm_array.sh ... with DEADWEIGHT_SHARDS=16 set.
#SBATCH --job-name=deadweight
#SBATCH --cpus-per-task=4
#SBATCH --requeue
set -eu

folder=$1
shift
shards=${DEADWEIGHT_SHARDS:-$SLURM_ARRAY_TASK_COUNT}
mkdir -p "$folder"
part="$folder/part-$SLURM_ARRAY_TASK_ID.dwm"
# A task that was preempted goes on from its last checkpoint.
exec deadweight measure "$@" --shard "$SLURM_ARRAY_TASK_ID/$shards" --threads "${SLURM_CPUS_PER_TASK:-1}" \
    --checkpoint "$part.checkpoint" --resume --quiet -o "$part"
