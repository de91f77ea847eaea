# shellcheck shell=bash disable=SC2154
# What ops/kafka and ops/registry share: a Java server of ours that runs in the background, with its port, process and log.
# Sourced, with `program` set to how messages begin.

# Exit code of a command that cannot have the server at all here (no Java, no Maven, no network): tests take it for "not run".
readonly cannot_be_had=77
# How long a server may take to be ready. Seconds are usual; a machine that is busy building needs more.
readonly ready_s_max=${SONDER_READY_S_MAX:-120}
readonly stop_s_max=30
# Clients that retry a dead port of the ephemeral range (from 32768) can connect to themselves.
readonly port_min=15000 port_max=31999

say() { echo "$program: $*" >&2; }

give_up() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

need_java() {
  local version
  command -v java >/dev/null || give_up "$cannot_be_had" "needs Java 17 or newer; run ops/setup --tests"
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
  ((${version:-0} >= 17)) || give_up "$cannot_be_had" "needs Java 17 or newer, found ${version:-none}; run ops/setup --tests"
}

# maven ARGUMENT...: quiet; what it said where it fails, and then exit code 77. Checksums that do not fit are errors.
maven() {
  local log
  command -v mvn >/dev/null || give_up "$cannot_be_had" "needs Maven for the first start; run ops/setup --tests"
  log=$(mktemp)
  if ! mvn -B -q --strict-checksums "$@" >"$log" 2>&1; then
    grep -a ERROR "$log" | head -n 5 >&2
    rm -f "$log"
    give_up "$cannot_be_had" "Maven could not fetch the jars; the first start needs a network"
  fi
  rm -f "$log"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_ports N TAKEN FILE...: N ports that nobody listens on, not among those taken, and not in the files (ports of servers that
# may be stopped now).
free_ports() {
  local count=$1 taken port found=()
  taken=" $(tr '\n' ' ' <<<"$2") "
  shift 2
  taken+=" $(cat "$@" 2>/dev/null | tr '\n' ' ' || true) "
  while ((${#found[@]} < count)); do
    port=$((port_min + (RANDOM * 32768 + RANDOM) % (port_max - port_min + 1)))
    [[ $taken == *" $port "* ]] && continue
    answers "$port" && continue
    taken+="$port "
    found+=("$port")
  done
  echo "${found[@]}"
}

# pid_of FOLDER: the process that FOLDER/pid names, if it lives and is the one that was started for this folder: numbers are
# given again.
pid_of() {
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "-Dsonder.place=$1 " || return 1
  echo "$pid"
}

# launch FOLDER JAVA_ARGUMENT...: in the background, apart from this terminal, with output in FOLDER/log.
launch() {
  local folder=$1
  shift
  [[ -f $folder/log ]] && mv -f "$folder/log" "$folder/log.before"
  # Descriptor 9 is the lock: a server that inherited it would hold it for its lifetime.
  (cd "$folder" && exec setsid java "-Dsonder.place=$folder" "$@" >"$folder/log" 2>&1 </dev/null 9>&-) &
  echo $! >"$folder/pid"
}

# await_ready FOLDER COMMAND...: until the command succeeds. Fails with the log's own reason if the process ends, or after
# ready_s_max.
await_ready() {
  local folder=$1 deadline=$((SECONDS + ready_s_max))
  shift
  until "$@" >/dev/null 2>&1; do
    if ! pid_of "$folder" >/dev/null && ! kill -0 "$(cat "$folder/pid")" 2>/dev/null; then
      show_reason "$folder"
      say "ended before it was ready; the whole log is $folder/log"
      return 1
    fi
    if ((SECONDS > deadline)); then
      show_reason "$folder"
      say "not ready after $ready_s_max s (SONDER_READY_S_MAX); the whole log is $folder/log"
      return 1
    fi
    sleep 0.1
  done
}

# The lines of the log that tell why.
show_reason() {
  local lines
  lines=$(grep -aE 'ERROR|FATAL|Exception|Error:|Caused by' "$1/log" 2>/dev/null | tail -n 5 || true)
  [[ -n $lines ]] || lines=$(tail -n 5 "$1/log" 2>/dev/null || true)
  printf '%s\n' "$lines" | cut -c1-400 >&2
}

await_end() {
  local pid=$1 deadline=$((SECONDS + $2))
  while kill -0 "$pid" 2>/dev/null && [[ $(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null) != Z ]]; do
    ((SECONDS > deadline)) && return 1
    sleep 0.05
  done
}

# end_process FOLDER [SIGNAL]: asks it to end, or kills it at once; quiet where it does not run.
end_process() {
  local folder=$1 signal=${2:-TERM} pid
  if pid=$(pid_of "$folder"); then
    # A stopped process takes no signal but SIGKILL until it goes on.
    kill -"$signal" "$pid" 2>/dev/null || true
    [[ $signal == KILL ]] || kill -CONT "$pid" 2>/dev/null || true
    if ! await_end "$pid" "$stop_s_max"; then
      say "process $pid did not stop within $stop_s_max s; killing it"
      kill -KILL "$pid" 2>/dev/null || true
      await_end "$pid" "$stop_s_max"
    fi
  fi
  rm -f "$folder/pid"
}

# One command at a time for each place; another one waits.
lock() {
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  flock -w 300 9 || give_up 1 "another $program works on the same place for five minutes now ($1)"
}
