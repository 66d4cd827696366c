# Shell helpers of the scripts in this folder, and the cache of peers. Sourced from bash; changes to the workspace's folder.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Incremental data is written for the next build, which a fresh checkout does not have; it may be asked for.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0} CARGO_TERM_COLOR=never
# Line tables take a tenth of the time that compiling takes. A panic says where it was without them.
export CARGO_PROFILE_DEV_DEBUG=0
# The one profile of all scripts.
cargo() { command cargo --config .ci/profile.toml "$@"; }
target=$PWD/${CARGO_TARGET_DIR:-target}
if [[ ${CARGO_TARGET_DIR:-} = /* ]]; then target=$CARGO_TARGET_DIR; fi
bin=$target/debug
tools=$target/tools
peers=$target/peers
work=$(mktemp -d)
trap 'stop_all; rm -rf "$work"' EXIT

# Ends all processes that run in the background.
stop_all() {
    jobs -p | xargs -r kill 2>/dev/null || true
    wait || true
}

# Prints the name of a step and the seconds since the script began.
step() { printf '\n=== %s (%d s)\n' "$*" "$SECONDS"; }

fail() {
    echo "$*" >&2
    exit 1
}

# Checks that programs are installed.
need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || fail "$program is missing"
    done
}

# Runs a command in the background, with its output in $work/NAME.log: start NAME COMMAND...
pids=()
names=()
start() {
    "${@:2}" >"$work/$1.log" 2>&1 &
    pids+=($!)
    names+=("$1")
}

# Waits for the started commands, prints the last line of each, and fails if one failed. Prints the whole log then, and
# the last lines of $work/NAME.peer, the log of its peer.
finish() {
    local n failed=0
    for n in "${!pids[@]}"; do
        if wait "${pids[$n]}"; then
            printf -- '--- %s: ok\n' "${names[$n]}"
            tail -n 1 "$work/${names[$n]}.log"
        else
            printf -- '--- %s: FAILED\n' "${names[$n]}"
            grep -v '^ok ' "$work/${names[$n]}.log" || true
            if [ -f "$work/${names[$n]}.peer" ]; then tail -n 50 "$work/${names[$n]}.peer"; fi
            failed=1
        fi
    done
    pids=()
    names=()
    return "$failed"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until a peer listens: listening PID LOG PORT
listening() {
    for _ in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null; then return; fi
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    cat "$2" >&2
    fail "the peer does not listen"
}

# Starts kinesis-local, and leaves its process in served_pid and its settings of variables in $work/NAME.env: serve NAME OPTIONS...
serve() {
    RUST_LOG=${RUST_LOG:-warn} "$bin/kinesis-local" --kinesis-port 0 --dynamodb-port 0 "${@:2}" \
        >"$work/$1.env" 2>"$work/$1.peer" &
    served_pid=$!
    for _ in $(seq 100); do
        if grep -qx ready "$work/$1.env"; then
            sed -i -E '/^(export|unset) /!d' "$work/$1.env"
            return
        fi
        sleep 0.1
    done
    cat "$work/$1.peer" >&2
    fail "kinesis-local is not ready"
}

# Cached installation: cached FOLDER VERSIONS COMMAND... runs the command unless the folder holds these versions.
cached() {
    if [ "$(cat "$1/.installed" 2>/dev/null)" = "$2" ]; then return; fi
    rm -rf "$1"
    mkdir -p "$1"
    "${@:3}"
    echo "$2" >"$1/.installed"
}

# A tool of crates.io, built once: tool NAME VERSION OPTIONS...
tool() { cached "$tools/$1" "$*" command cargo install --quiet --locked --debug --root "$tools/$1" --version "=$2" "$1" "${@:3}"; }
