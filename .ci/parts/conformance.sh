# The conformance suite against other emulators and against the served kinesis-local, and the latter with the AWS SDKs of
# other languages. `conformance --aws` against another served kinesis-local that stands in for AWS.
# shellcheck shell=bash

# In the environment of the stand-in.
on_aws() {
    # shellcheck disable=SC1091
    source "$work/stand-in.env"
    timeout 240 "$venv/python" integration-tests/peers/on_aws_check.py "$bin/conformance"
}

conformance() {
    local checks=integration-tests/peers lists=integration-tests/conformance/divergences limited
    local mock_port ministack_port kinesalite_port dynalite_port moto_port
    start npm install_npm
    start python install_python
    start maven install_java_sdk
    finish

    mock_port=$(free_port)
    start_kinesis_mock "$mock_port" SHARD_LIMIT=10000 CREATE_STREAM_DURATION=0ms DELETE_STREAM_DURATION=0ms \
        UPDATE_SHARD_COUNT_DURATION=0ms SPLIT_SHARD_DURATION=0ms MERGE_SHARDS_DURATION=0ms \
        REGISTER_STREAM_CONSUMER_DURATION=0ms DEREGISTER_STREAM_CONSUMER_DURATION=0ms
    ministack_port=$(free_port)
    start_ministack "$ministack_port"
    kinesalite_port=$(free_port)
    start_kinesalite "$kinesalite_port"
    dynalite_port=$(free_port)
    start_dynalite "$dynalite_port"
    moto_port=$(free_port)
    start_moto "$moto_port"
    serve served-with-limits --enforce-limits
    limited=$(sed -n 's/^export AWS_ENDPOINT_URL_KINESIS=//p' "$work/served-with-limits.env")
    serve stand-in
    serve served
    # shellcheck disable=SC1091
    source "$work/served.env"

    cp "$checks/node_check.mjs" "$peers/npm"
    start boto3 timeout 60 "$venv/python" "$checks/boto3_check.py"
    start node timeout 60 node "$peers/npm/node_check.mjs"
    start java timeout 90 java -cp "$peers/java-sdk/*" "$checks/java/Check.java"
    finish

    start kinesis-mock timeout 240 "$bin/conformance" --kinesis "http://127.0.0.1:$mock_port" \
        --divergences "$lists/kinesis-local-0.6.2.txt"
    start ministack timeout 240 "$bin/conformance" --kinesis "http://127.0.0.1:$ministack_port" \
        --dynamodb "http://127.0.0.1:$ministack_port" --divergences "$lists/ministack-1.5.33.txt"
    start kinesalite timeout 240 "$bin/conformance" --kinesis "http://127.0.0.1:$kinesalite_port" \
        --dynamodb "http://127.0.0.1:$dynalite_port" --divergences "$lists/kinesalite-3.3.3.txt" \
        --divergences "$lists/dynalite-4.0.0.txt"
    # One check at a time: some of its lists are in the order of creation.
    start moto timeout 240 "$bin/conformance" --side-by-side 1 --kinesis "http://127.0.0.1:$moto_port" \
        --dynamodb "http://127.0.0.1:$moto_port" --divergences "$lists/moto-5.2.5.txt"
    start on-aws on_aws
    start served timeout 240 "$bin/conformance" --kinesis "$AWS_ENDPOINT_URL_KINESIS" --kinesis-with-limits "$limited" \
        --dynamodb "$AWS_ENDPOINT_URL_DYNAMODB"
    finish
    stop_all
}
