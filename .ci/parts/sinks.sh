# Dead letters and archives on moto's S3 and SQS, and in a folder; Parquet read by pyarrow.
# shellcheck shell=bash

sinks() {
    local port
    install_python
    port=$(free_port)
    start_moto "$port"
    export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
    "$venv/python" -c 'import boto3; boto3.client("s3", "us-east-1").create_bucket(Bucket="bucket")'
    start letters-in-s3 timeout 60 "$bin/examples/letters" s3://bucket/letters
    start letters-in-sqs timeout 60 "$bin/examples/letters" --queue letters s3://bucket/large
    start letters-in-sqs-alone large_letter_stays
    start archive-in-s3 timeout 60 "$bin/examples/archive" s3://bucket/archive
    start parquet-in-s3 parquet s3://bucket/parquet --parquet=price:double,quantity:int64,tradeType:string
    start parquet-in-folder parquet "$work/parquet" --parquet
    finish
}

# Without a place for it, the data of the large letter are only in the stream: it is kept, and said so.
large_letter_stays() {
    if timeout 60 "$bin/examples/letters" --queue alone >"$work/alone"; then exit 1; fi
    cat "$work/alone"
    grep -q '^1 letters redriven' "$work/alone"
    grep 'is kept: the data are only in stream Orders' "$work/alone"
}

# Archives trades as Parquet while workers crash, and compares them with what was put: parquet PLACE OPTIONS...
parquet() {
    local put
    put=$(mktemp -p "$work")
    timeout 60 "$bin/examples/archive" "$@" --put "$put"
    timeout 60 "$venv/python" integration-tests/peers/parquet_check.py "$1" "$put"
}
