# Other readers and writers on a stream that is split: harlow/kinesis-consumer in Go, async-kinesis in Python, the Kinesis sink of
# Debezium Server, Flink, Spark.
# shellcheck shell=bash

# Readers in Go, with the piece of docs/who-reads-what.md.
install_readers_go() {
    local source=integration-tests/peers/go folder=$peers/go
    mkdir -p "$folder"
    cp "$source"/* "$folder"
    awk '$0 == "```go" { on = 1; next } /^```/ { on = 0 } on' docs/who-reads-what.md >"$folder/user_records.go"
    (cd "$folder" && timeout 400 go build -buildvcs=false -o reader .)
}

# A script of integration-tests/peers on a kinesis-local of its own: on_a_stream SCRIPT ARGUMENTS...
on_a_stream() {
    serve stream
    # shellcheck disable=SC1091
    source "$work/stream.env"
    timeout 300 "$venv/python" "integration-tests/peers/$1" "${@:2}" "$work"
}

readers_go() {
    start python install_python
    start go install_readers_go
    finish
    on_a_stream go_check.py "$bin/kds" "$peers/go/reader"
}

async_kinesis() {
    install_python
    on_a_stream async_kinesis_check.py "$bin/interop-worker"
}

debezium() {
    start python install_python
    start debezium install_maven debezium "$java/debezium"
    finish
    compile debezium "$java/debezium/Sink.java"
    on_a_stream debezium_check.py "$bin/interop-worker" "$peers/debezium"
}

# Flink with OpenAggregates of docs/who-reads-what.md.
flink() {
    start python install_python
    start flink install_maven flink "$java/flink"
    finish
    awk '$0 == "```java" { on = 1; next } /^```/ { on = 0 } on' docs/who-reads-what.md >"$work/OpenAggregates.java"
    compile flink "$java/flink/Flink.java" "$work/OpenAggregates.java"
    (on_a_stream flink_check.py read "$bin/kds" "$peers/flink")
    on_a_stream flink_check.py write "$bin/interop-worker" "$peers/flink"
}

spark() {
    start python install_python
    start spark install_maven spark "$java/spark"
    finish
    compile spark "$java/spark/Spark.java"
    on_a_stream spark_check.py "$bin/kds" "$bin/interop-worker" "$peers/spark"
}

# kcl beside the KCL for Java: mixed_workers streams|fan-out
mixed_workers() {
    start python install_python
    start kcl install_kcl 3.5.1
    finish
    on_a_stream mixed_workers_check.py "$1" "$bin/kds" "$bin/interop-worker" "$peers/kcl-3.5.1"
}
