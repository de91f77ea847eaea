#!/usr/bin/env bash
# Runs one fuzz target for ctest (`ctest -L fuzz`): clean, which finds nothing, or planted, which must find the bug that was
# compiled into it, and find it in an input of its own making.
set -euo pipefail

usage() {
  cat <<'END'
Usage: run_target.sh clean|planted TARGET FOLDER SEEDS SECONDS [WORDS]

Mutates the files in SEEDS with TARGET for SECONDS, with the words in the file WORDS. What it learns stays in FOLDER/corpus,
inputs that break it in FOLDER.

  SONDER_FUZZ_SECONDS  clean runs take as long as this instead
  SONDER_FUZZ_RUNS     clean runs take this many inputs, however long that lasts (unless SONDER_FUZZ_SECONDS is given too)

Example: SONDER_FUZZ_RUNS=1000000 ctest --test-dir build/fuzz -L fuzz
END
}

if (($# < 5 || $# > 6)) || [[ $1 != clean && $1 != planted ]]; then
  usage >&2
  exit 2
fi
mode=$1 target=$2 folder=$3 seeds=$4 seconds=$5 words=${6:-}

# An input may take 10 s, one allocation 256 MiB.
arguments=(-timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=256 -print_final_stats=1 "-artifact_prefix=$folder/")
[[ -z $words ]] || arguments+=("-dict=$words")

if [[ $mode == clean ]]; then
  mkdir -p "$folder/corpus"
  if [[ -n ${SONDER_FUZZ_RUNS:-} ]]; then
    arguments+=("-runs=$SONDER_FUZZ_RUNS" "-max_total_time=${SONDER_FUZZ_SECONDS:-0}")
  else
    arguments+=("-max_total_time=${SONDER_FUZZ_SECONDS:-$seconds}")
  fi
  exec "$target" "${arguments[@]}" "$folder/corpus" "$seeds"
fi

# From the seeds alone and always the same way, so that a pass does not lean on what an earlier run left, nor on luck.
rm -rf "$folder"
mkdir -p "$folder/corpus"
log=$folder/log
if "$target" "${arguments[@]}" -seed=1 "-max_total_time=$seconds" "$folder/corpus" "$seeds" >"$log" 2>&1; then
  echo "$target: does not find its planted bug within $seconds s; $log"
  exit 1
fi
if ! grep -q '^planted bug$' "$log"; then
  echo "$target: finds something else than its planted bug:"
  tail -n 40 "$log"
  exit 1
fi
# libFuzzer names the mutations that led to an input: none, where it was a seed.
if ! grep -Eq '^MS: [1-9]' "$log"; then
  echo "$target: a seed already holds the planted bug; the search proves nothing"
  exit 1
fi
grep -E '^(MS: |stat::number_of_executed_units)' "$log"
