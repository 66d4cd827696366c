#!/usr/bin/env bash
# boto3 1.43.106 reads no event of a SubscribeToShard that npm kinesis-local 0.6.2 (kinesis-mock) answers; the AWS SDK for
# JavaScript 3.1143.0 reads the same subscription.
#
# The event stream of the emulator begins with a SubscribeToShardEvent at once, the service's with an `initial-response`
# event. botocore insists on that event and raises; the SDK for JavaScript does not look for it. So a fan-out consumer in
# Python cannot be tried on this emulator, though its subscription is in order otherwise.
#
# Seen (Python 3.11, node 20.20): the lines that this script prints. Fails if one of the packages behaves otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "$(cat "$work/pid")" 2>/dev/null || true; rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work" \
    kinesis-local@0.6.2 @aws-sdk/client-kinesis@3.1143.0
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.43.106
cd "$work"

# The emulator listens on all addresses unless told otherwise.
cat >loopback.js <<'JS'
const { Server } = require('node:net');
const { listen } = Server.prototype;
Server.prototype.listen = function (first, ...others) {
  const on = typeof first === 'number' ? { port: first } : first;
  return listen.call(this, { ...on, host: '127.0.0.1' }, ...others.filter((other) => typeof other === 'function'));
};
JS
read -r port tls_port < <(python3 -c 'import socket
a, b = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
print(a.getsockname()[1], b.getsockname()[1])')
KINESIS_MOCK_PLAIN_PORT=$port KINESIS_MOCK_TLS_PORT=$tls_port LOG_LEVEL=ERROR \
    KINESIS_MOCK_CERT_PATH=node_modules/kinesis-local/server.json \
    node --require ./loopback.js node_modules/kinesis-local/main.js >emulator.log 2>&1 &
echo $! >pid

cat >subscribe.py <<'PY'
import sys
import time
import boto3
from botocore.config import Config
from botocore.parsers import ResponseParserError

kinesis = boto3.client(
    "kinesis", "us-east-1", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", aws_access_key_id="test",
    aws_secret_access_key="test", config=Config(retries={"mode": "standard", "total_max_attempts": 20}),
)
kinesis.create_stream(StreamName="stream", ShardCount=1)
kinesis.get_waiter("stream_exists").wait(StreamName="stream", WaiterConfig={"Delay": 1})
kinesis.put_record(StreamName="stream", PartitionKey="key", Data=b"data")
arn = kinesis.describe_stream_summary(StreamName="stream")["StreamDescriptionSummary"]["StreamARN"]


def registered(name):
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=name)["Consumer"]["ConsumerARN"]
    while kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE":
        time.sleep(0.2)
    return consumer


with open("consumer", "w") as file:
    file.write(registered("javascript"))
try:
    events = kinesis.subscribe_to_shard(
        ConsumerARN=registered("python"), ShardId="shardId-000000000000", StartingPosition={"Type": "TRIM_HORIZON"}
    )["EventStream"]
    print("boto3:", next(iter(events)))
except ResponseParserError as error:
    print(f"boto3: {type(error).__name__}: {error}")
PY
cat >subscribe.mjs <<'JS'
import { readFileSync } from 'node:fs';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { KinesisClient, SubscribeToShardCommand } from '@aws-sdk/client-kinesis';

const kinesis = new KinesisClient({
  region: 'us-east-1', endpoint: `http://127.0.0.1:${process.argv[2]}`, requestHandler: new NodeHttpHandler(),
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
});
const { EventStream } = await kinesis.send(new SubscribeToShardCommand({
  ConsumerARN: readFileSync('consumer', 'utf8'), ShardId: 'shardId-000000000000', StartingPosition: { Type: 'TRIM_HORIZON' },
}));
for await (const { SubscribeToShardEvent } of EventStream) {
  if (SubscribeToShardEvent?.Records.length) {
    console.log(`JavaScript: ${SubscribeToShardEvent.Records.length} record`);
    process.exit(0);
  }
}
JS
for _ in $(seq 300); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
done
found=$(timeout 60 venv/bin/python subscribe.py "$port" && timeout 60 node --no-warnings subscribe.mjs "$port")
echo "$found"
[ "$found" = 'boto3: ResponseParserError: First event was not of type initial-response
JavaScript: 1 record' ]
