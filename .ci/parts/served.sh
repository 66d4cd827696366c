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

    echo "--- exporters of metrics under 10,000 records a second, put and processed"
    exporters

    echo "--- kinesis-local stops cleanly"
    kill -INT "$local_pid"
    wait "$local_pid"
}

# stock-producer and a stock-consumer beside it with each exporter: none logs a warning or an error, and each exports what was put,
# and that something was processed.
exporters() {
    local exporter receiver port consumer producer metric
    port=$(free_port)
    python3 integration-tests/peers/otlp_receiver.py "$port" "$work/otlp" &
    receiver=$!
    listening "$receiver" /dev/null "$port"
    export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$port
    for exporter in cloudwatch prometheus emf otel; do
        OTEL_EXPORTER_PROMETHEUS_PORT=9465 "$bin/stock-consumer" "Exported-$exporter" --metrics "$exporter" \
            >"$work/$exporter-consumer.out" 2>"$work/$exporter-consumer.log" &
        consumer=$!
        "$bin/stock-producer" --every 0.1 --trades 50000 --metrics "$exporter" \
            >"$work/$exporter.out" 2>"$work/$exporter.log" &
        producer=$!
        if [ "$exporter" = prometheus ]; then
            scrape "$producer" 9464 kpl_user_records_put
            scrape "$consumer" 9465 kcl_records_processed
        fi
        wait "$producer" || { cat "$work/$exporter.log"; exit 1; }
        kill -TERM "$consumer"
        wait "$consumer" || { cat "$work/$exporter-consumer.log"; exit 1; }
        if grep -E 'WARN|ERROR' "$work/$exporter.log" "$work/$exporter-consumer.log" ||
            ! grep 'put=50000 failed=0' "$work/$exporter.log"; then
            fail "$exporter"
        fi
    done
    python3 - "$work/emf.out" "$work/emf-consumer.out" <<'PYTHON'
import json, sys

def total(file, metric):
    lines = (line for line in open(file) if line.startswith("{"))  # between reports of trades
    return sum(json.loads(line).get(metric, 0) for line in lines)

put, processed = total(sys.argv[1], "UserRecordsPut"), total(sys.argv[2], "RecordsProcessed")
assert put == 50_000, f"{put} user records put in the embedded metric format"
assert 0 < processed <= 50_000, f"{processed} user records processed in the embedded metric format"
PYTHON
    kill "$receiver"
    for metric in kpl_user_records_put kcl_records_processed; do
        grep -aq "$metric" "$work/otlp" || fail "no $metric came to the collector"
    done
    echo "all export, and log nothing"
}

# Reads the metrics of a process for Prometheus at a port, until this counter has counted: scrape PID PORT METRIC
scrape() {
    local text
    for _ in $(seq 100); do
        text=$(curl -s "http://127.0.0.1:$2/metrics" || true)
        if grep -E "^$3[{].* [1-9]" <<<"$text" >/dev/null; then return; fi
        kill -0 "$1" || break
        sleep 0.1
    done
    fail "no $3 can be read for Prometheus"
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
