"""`conformance --aws` against a kinesis-local that stands in for AWS.

on_aws_check.py CONFORMANCE: runs the suite whole, ends it in the middle by signals, at its cap and without consent, and
deletes leftovers. Each time, what others made must be there afterwards, and nothing else.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time

import boto3

CONFORMANCE = sys.argv[1]
FAMILY = "kinesis-conformance-"
# Named almost like what a run makes.
FOREIGN = FAMILY + "orders"
CONFIRM = ["--confirm", "000000000000/" + os.environ["AWS_REGION"]]
# The stand-in enforces no limits, so that these differ.
UNLIMITED = {
    "a_busy_shard_does_not_disturb_another",
    "a_shard_is_read_5_times_a_second",
    "a_shard_is_read_with_2_mib_a_second",
    "a_shard_takes_1000_records_a_second",
    "a_shard_takes_1_mib_a_second",
    "a_shard_that_is_busy_refuses_a_single_record",
    "an_entry_that_failed_has_no_number",
    "an_entry_that_failed_is_not_stored",
    "entries_above_the_limit_fail_one_by_one",
    "streams_are_created_5_times_a_second",
}

kinesis, dynamodb = boto3.client("kinesis"), boto3.client("dynamodb")


def create_table(name):
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
    )


def names():
    streams = [name for page in kinesis.get_paginator("list_streams").paginate() for name in page["StreamNames"]]
    tables = [name for page in dynamodb.get_paginator("list_tables").paginate() for name in page["TableNames"]]
    return streams + tables


def is_clean(when):
    assert names() == [FOREIGN, FOREIGN], f"{when}: {names()}"
    records = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(
        StreamName=FOREIGN, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")["ShardIterator"])
    assert [record["Data"] for record in records["Records"]] == [b"kept"], when
    assert dynamodb.get_item(TableName=FOREIGN, Key={"k": {"S": "kept"}}).get("Item"), when


def run(when, code, *arguments, confirm=CONFIRM, says=""):
    begun = time.monotonic()
    ended = subprocess.run([CONFORMANCE, *arguments, *confirm], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    text = ended.stdout + ended.stderr
    assert ended.returncode == code and says in text, f"{when}: {ended.returncode}\n{text}"
    is_clean(when)
    print(f"{when} in {time.monotonic() - begun:.1f} s", flush=True)
    return ended.stdout


def stop(how, code):
    """Ends a run while it has streams, and returns the prefix of their names."""
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        command = [CONFORMANCE, "--aws", "--only", "a_subscription", "--side-by-side", "8", *CONFIRM]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        while len(names()) < 6:
            assert process.poll() is None and time.monotonic() - begun < 60, "no streams of the run"
            time.sleep(0.02)
        process.send_signal(how)
        ended = process.wait(60)
        output.seek(0)
        text = output.read()
    assert ended == code, f"{how.name}: {ended}\n{text}"
    print(f"stopped by {how.name} in {time.monotonic() - begun:.1f} s", flush=True)
    return next(line.split()[1].removesuffix("...") for line in text.splitlines() if line.startswith("names "))


kinesis.create_stream(StreamName=FOREIGN, ShardCount=1)
kinesis.get_waiter("stream_exists").wait(StreamName=FOREIGN)
kinesis.put_record(StreamName=FOREIGN, PartitionKey="k", Data=b"kept")
create_table(FOREIGN)
dynamodb.put_item(TableName=FOREIGN, Item={"k": {"S": "kept"}})
is_clean("before")

for how in [signal.SIGINT, signal.SIGTERM]:
    stop(how, 2)
    is_clean(how.name)
prefix = stop(signal.SIGKILL, -signal.SIGKILL)
create_table(prefix + "left")
assert len(names()) > 3, names()
run("leftovers deleted", 0, "--clean-up", prefix, says="left 0")

run("no consent", 1, "--aws", "--only", "a_token", confirm=[], says="nobody is there to be asked")
run("another account", 1, "--aws", "--only", "a_token", confirm=["--confirm", "123456789012/us-east-1"], says="but this is")
run("no prefix", 2, "--clean-up", FAMILY, says="is no prefix of a run")
run("stopped at the cap", 2, "--aws", "--only", "ranges_of_shards", "--max-stream-hours", "5", says="stopped at the cap")
run("agrees", 0, "--aws", "--only", "a_token", says="0 differ, 0 were not performed")

with tempfile.TemporaryDirectory() as folder:
    report = os.path.join(folder, "report.md")
    text = run("the whole suite", 1, "--aws", "--side-by-side", "64", "--report", report, says="left 0")
    with open(report, encoding="utf-8") as file:
        rows = {line.split("`")[1] for line in file if line.startswith("| `")}
assert rows == UNLIMITED, f"{rows ^ UNLIMITED}\n{text}"
print(text.splitlines()[-1])
