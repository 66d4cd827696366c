# The samples, as other programs, against kinesis-local on loopback ports.
# shellcheck shell=bash

served() {
    local local_pid
    RUST_LOG=info serve served
    local_pid=$served_pid
    # shellcheck disable=SC1091
    source "$work/served.env"

    echo "--- stock-trade-stream through sockets"
    "$bin/stock-trade-stream" --aws --trades 5000 --summary json 2>"$work/run.log" | tail -n 1 >"$work/summary" ||
        { cat "$work/run.log"; exit 1; }
    grep -E '"trades_processed":5000,"lost":0,"duplicates":0,"out_of_order":0' "$work/summary" | cut -c 1-120

    echo "--- a missing stream is named"
    if "$bin/stock-producer" NoSuchStream 2>"$work/missing.log"; then exit 1; fi
    grep 'stream NoSuchStream does not exist' "$work/missing.log"
    if "$bin/stock-consumer" AnApplication NoSuchStream 2>"$work/missing.log"; then exit 1; fi
    grep 'stream NoSuchStream does not exist' "$work/missing.log"

    echo "--- stock-producer and stock-consumer, stopped by SIGTERM"
    "$bin/stock-producer" --every 1 --trades 500 2>"$work/producer.log" || { cat "$work/producer.log"; exit 1; }
    grep 'put=500 failed=0' "$work/producer.log"
    # A consumer that is stopped before its first read reports no trade, and is followed by another.
    for _ in $(seq 10); do
        consumer_run
        if grep -q 'Most popular stock being bought' "$work/reports"; then break; fi
    done
    grep -q 'Most popular stock being bought' "$work/reports" && grep -q 'checkpointed' "$work/consumer.log" ||
        { cat "$work/consumer.log"; exit 1; }

    echo "--- kinesis-local stops cleanly"
    kill -INT "$local_pid"
    wait "$local_pid"
}

# stock-consumer from its first lease until SIGTERM, and what fleet-status prints meanwhile.
consumer_run() {
    local consumer_pid
    "$bin/stock-consumer" Reports --start trim-horizon >"$work/reports" 2>"$work/consumer.log" &
    consumer_pid=$!
    for _ in $(seq 100); do
        grep -q 'lease taken' "$work/consumer.log" && break
        sleep 0.1
    done
    "$bin/fleet-status" Reports >"$work/status" 2>"$work/status.log" || { cat "$work/status.log"; exit 1; }
    head -n 4 "$work/status"
    grep -E '^lease +shardId-[0-9]+ ' "$work/status" >/dev/null
    kill -TERM "$consumer_pid"
    wait "$consumer_pid" || { cat "$work/consumer.log"; exit 1; }
}
