#!/usr/bin/env bash
# The fixture of all tests with label `kafka`: one broker and one registry for a build folder.
#   broker.sh start|stop BUILD_FOLDER
# start writes BUILD_FOLDER/kafka.env, lines of NAME=value: SONDER_KAFKA and SONDER_REGISTRY, or SONDER_KAFKA_NOT_RUN with the
# reason, and then exit code 77: ctest shows the suite as skipped. Under CI a suite that cannot run is a failure.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
command=$1
build=$2
name=test-$(basename "$build")

not_run() {
  local reason=$1
  echo "SONDER_KAFKA_NOT_RUN=$reason" >"$build/kafka.env"
  echo "skipped: the Kafka suite is NOT RUN: $reason"
  [[ -z ${CI:-} ]] || exit 1
  exit 77
}

# Says why one cannot be had; one that is there and does not come up is a failure anywhere.
settle() {
  local code=$1 said=$2
  cat "$said"
  ((code != 77)) || not_run "$(tail -n 1 "$said")"
  ((code == 0)) || exit 1
}

case $command in
  start)
    rm -f "$build/kafka.env"
    # What an earlier run left would be in the way of topics with the same name.
    [[ -n ${SONDER_KAFKA:-} ]] || "$root/ops/kafka" wipe --name "$name"
    [[ -n ${SONDER_REGISTRY:-} ]] || "$root/ops/registry" wipe --name "$name"
    "$root/ops/registry" start --name "$name" >"$build/registry-start.log" 2>&1 &
    registry=$!
    code=0
    "$root/ops/kafka" start --name "$name" >"$build/kafka-start.log" 2>&1 || code=$?
    registry_code=0
    wait "$registry" || registry_code=$?
    settle "$code" "$build/kafka-start.log"
    settle "$registry_code" "$build/registry-start.log"
    {
      echo "SONDER_KAFKA=$("$root/ops/kafka" address --name "$name")"
      echo "SONDER_REGISTRY=$("$root/ops/registry" address --name "$name")"
    } >"$build/kafka.env.new"
    mv "$build/kafka.env.new" "$build/kafka.env"
    ;;
  stop)
    "$root/ops/kafka" stop --name "$name"
    "$root/ops/registry" stop --name "$name"
    ;;
  *) echo "broker.sh: start or stop" >&2; exit 2 ;;
esac
