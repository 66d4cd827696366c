"""Aggregates of a file of cases, put and read with boto3: each is one record under the key "a" until aws_kinesis_agg opens it.

The environment says where Kinesis is. A case is described in kpl/examples/aggregation_cases.rs.
"""

import sys

import boto3
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

STREAM = "boto3-blobs"
kinesis = boto3.client("kinesis")
kinesis.create_stream(StreamName=STREAM, ShardCount=1)
kinesis.get_waiter("stream_exists").wait(StreamName=STREAM)
with open(sys.argv[1], encoding="ascii") as file:
    cases = [line.rstrip("\n").split("\t") for _, line in zip(range(500), file)]
for aggregate, _ in cases:
    kinesis.put_record(StreamName=STREAM, PartitionKey="a", Data=bytes.fromhex(aggregate))

shard = kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
position = {"StreamName": STREAM, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
answer = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**position)["ShardIterator"])
found = answer["Records"]
assert [(record["PartitionKey"], record["Data"].hex()) for record in found] == [("a", aggregate) for aggregate, _ in cases]

expected = [record.split(":") for _, text in cases for record in text.split(",")]
opened = [record["kinesis"] for record in iter_deaggregate_records(found, data_format="Boto3")]
assert [record["partitionKey"] for record in opened] == [bytes.fromhex(key).decode() for key, _, _ in expected]
print(f"boto3: {len(found)} aggregates are one record each, aws_kinesis_agg finds {len(opened)} user records in them", file=sys.stderr)
