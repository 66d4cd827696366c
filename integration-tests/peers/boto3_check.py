"""Uses the served Kinesis with boto3 as applications do: create, put, read, split, read the children, subscribe.

The environment says where it is (AWS_ENDPOINT_URL_KINESIS and so on), as `kinesis-local` prints it.
"""

import contextlib
import time

import boto3

STREAM = "boto3-check"
HALF = str(2**127)


def expect(what, got, want):
    if got != want:
        raise SystemExit(f"{what}: got {got!r}, want {want!r}")
    print(f"ok {what}")


def wait_for(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} seconds: {what}")
        time.sleep(0.02)


def read(kinesis, shard_id):
    """The records of a shard, and its children if it has ended."""
    position = {"StreamName": STREAM, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**position)["ShardIterator"]
    data = []
    while True:
        answer = kinesis.get_records(ShardIterator=iterator)
        data += [record["Data"] for record in answer["Records"]]
        iterator = answer.get("NextShardIterator")
        if iterator is None:
            return data, [child["ShardId"] for child in answer["ChildShards"]]
        if not answer["Records"]:
            return data, None


def subscribe(kinesis, arn, shard_id, enough):
    """The records that a subscription tells, until they are enough or the shard ends."""
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"of-{shard_id}")["Consumer"]["ConsumerARN"]
    described = lambda: kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]
    wait_for("the consumer is ACTIVE", lambda: described()["ConsumerStatus"] == "ACTIVE")
    position = {"Type": "TRIM_HORIZON"}
    answer = kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard_id, StartingPosition=position)
    data, children = [], None
    with contextlib.closing(answer["EventStream"]) as events:
        for event in events:
            event = event["SubscribeToShardEvent"]
            data += [record["Data"] for record in event["Records"]]
            if event.get("ChildShards"):
                children = [child["ShardId"] for child in event["ChildShards"]]
            if children or (enough and len(data) >= enough):
                return data, children
    raise SystemExit("the subscription ended early")


def main():
    kinesis = boto3.client("kinesis")
    shards = [f"shardId-{n:012d}" for n in range(3)]

    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    summary = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    expect("status", summary["StreamStatus"], "ACTIVE")
    arn = summary["StreamARN"]

    put = kinesis.put_record(StreamName=STREAM, PartitionKey="a", Data=b"\x00one\xff")
    expect("shard of a record", put["ShardId"], shards[0])
    entries = [{"PartitionKey": "b", "Data": b"two"}, {"PartitionKey": "c", "Data": b"three"}]
    put = kinesis.put_records(StreamARN=arn, Records=entries)
    expect("failed records", put["FailedRecordCount"], 0)
    before = [b"\x00one\xff", b"two", b"three"]
    expect("records", read(kinesis, shards[0]), (before, None))

    kinesis.split_shard(StreamName=STREAM, ShardToSplit=shards[0], NewStartingHashKey=HALF)
    open_shards = lambda: kinesis.list_shards(StreamName=STREAM, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    wait_for("the shard is split", lambda: len(open_shards()) == 2)
    expect("records and children of the parent", read(kinesis, shards[0]), (before, shards[1:]))
    kinesis.put_record(StreamName=STREAM, PartitionKey="d", ExplicitHashKey=HALF, Data=b"four")
    expect("records of the upper child", read(kinesis, shards[2]), ([b"four"], None))

    expect("subscription to the parent", subscribe(kinesis, arn, shards[0], None), (before, shards[1:]))
    expect("subscription to the upper child", subscribe(kinesis, arn, shards[2], 1), ([b"four"], None))

    try:
        kinesis.describe_stream(StreamName="missing")
        raise SystemExit("a missing stream is found")
    except kinesis.exceptions.ResourceNotFoundException as error:
        expect("a missing stream is named", "missing" in str(error), True)
    kinesis.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)


main()
