#!/usr/bin/env bash
# aws_lambda_events 1.2.1 (Rust) reads a Kinesis record's approximateArrivalTimestamp by the digits behind the point, as a
# number of milliseconds: of 1480641523.470, which a number in JSON is without its last zero, 47 ms are left.
#
# Lambda writes the time as a number of seconds with a fraction of milliseconds. One time in ten ends with a zero, and is read
# up to 891 ms early, so that records appear to have arrived in another order than they did.
#
# Seen (rustc 1.95): the lines that this script prints. Fails if the package behaves otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src"
cd "$work"
cat >Cargo.toml <<'TOML'
[package]
name = "arrivals"
version = "0.0.0"
edition = "2021"

[workspace]
TOML
cat >src/main.rs <<'RUST'
use aws_lambda_events::kinesis::KinesisEvent;

const EVENT: &str = r#"{"Records": [{"awsRegion": "us-east-1", "eventID": "shardId-000000000000:1", "eventName": "aws:kinesis:record",
    "eventSource": "aws:kinesis", "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/s", "eventVersion": "1.0",
    "invokeIdentityArn": "arn:aws:iam::123456789012:role/r", "kinesis": {"approximateArrivalTimestamp": ARRIVAL,
    "data": "cmVjb3Jk", "kinesisSchemaVersion": "1.0", "partitionKey": "k", "sequenceNumber": "1"}}]}"#;

fn main() {
    for arrival in ["1480641523.477", "1480641523.47", "1480641523.5"] {
        let event: KinesisEvent = serde_json::from_str(&EVENT.replace("ARRIVAL", arrival)).expect("an event");
        println!("{arrival} -> {}", event.records[0].kinesis.approximate_arrival_timestamp.timestamp_millis());
    }
}
RUST
cargo add --quiet serde_json
cargo add --quiet aws_lambda_events@1.2.1 --no-default-features --features kinesis
cargo update --quiet aws_lambda_events --precise 1.2.1
cargo run --quiet | tee seen
diff seen - <<'SEEN'
1480641523.477 -> 1480641523477
1480641523.47 -> 1480641523047
1480641523.5 -> 1480641523005
SEEN
