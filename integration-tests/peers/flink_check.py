#!/usr/bin/env python3
"""Jobs of Flink on a stream that is split half-way of 20,000 records.

flink_check.py read KDS JARS FOLDER: of what kpl puts, FlinkKinesisConsumer delivers each record once. On a stream without a split,
KinesisStreamsSource delivers each aggregate as one record, and with OpenAggregates of docs/who-reads-what.md its user records.
flink_check.py write WORKER JARS FOLDER: kcl delivers what KinesisStreamsSink writes.
"""

import base64
import collections
import subprocess
import sys

from stream_scene import (
    RECORDS, STREAM, KclReader, Reader, counted, create_stream, kinesis, number_of, partition_key, put_by_kpl, split, stored,
    text, until,
)

what, program, jars, folder = sys.argv[1:]
opens = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "util", "time")]
JAVA = ["java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *opens, "-cp", f"{jars}/classes:{jars}/*", "Flink"]


def arn(stream):
    return kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]


def read():
    # KinesisStreamsSource of this version fails at the end of a shard.
    whole = f"{STREAM}-without-splits"
    kinesis.create_stream(StreamName=whole, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=whole)
    put_by_kpl(program)
    put_by_kpl(program, whole, 0)
    blobs = collections.Counter((record["PartitionKey"], record["Data"]) for records in stored(whole).values() for record in records)
    job = Reader([*JAVA, "read", arn(STREAM), arn(whole)], f"{folder}/flink.log")
    wanted = {"consumer": RECORDS, "source": sum(blobs.values()), "opened": RECORDS}
    by_reader = lambda: collections.Counter(line["reader"] for line in list(job.lines))
    job.until("all records", lambda: by_reader() >= collections.Counter(wanted))
    job.stop()
    records = {reader: [] for reader in wanted}
    for line in job.lines:
        records[line["reader"]].append((line["key"], base64.b64decode(line["data"])))
    assert collections.Counter(records["source"]) == blobs, "KinesisStreamsSource does not deliver records as they are stored"
    print(f"KinesisStreamsSource: {len(records['source'])} records for {RECORDS} that were put")
    opened = [(partition_key(number_of(data)), data) for _, data in records["opened"]]
    once = collections.Counter(range(RECORDS))
    assert counted("KinesisStreamsSource with OpenAggregates", opened) == once
    assert counted("FlinkKinesisConsumer", records["consumer"]) == once, "FlinkKinesisConsumer does not deliver each record once"


def write():
    with open(f"{folder}/flink.log", "w", encoding="utf-8") as log:
        job = subprocess.Popen([*JAVA, "write", arn(STREAM)], stdin=subprocess.PIPE, stderr=log, text=True)
        for number in range(RECORDS):
            job.stdin.write(f"{partition_key(number)}\t{text(number)}\n")
            if number == RECORDS // 2:
                job.stdin.flush()
                until("records of the job", lambda: any(stored().values()))
                split()
        job.stdin.close()
        assert job.wait(120) == 0, open(f"{folder}/flink.log", encoding="utf-8").read()[-4000:]
    shards = {shard: len(records) for shard, records in stored().items()}
    assert len(shards) == 4 and all(shards.values()), f"the split was not amid the records: {shards}"
    reader = KclReader([program], "kcl", folder)
    reader.until("all records", lambda: len(set(reader.numbers())) >= RECORDS and reader.is_through())
    reader.stop()
    numbers = reader.numbers()
    copies = len(numbers) - len(set(numbers))
    print(f"kcl delivers {len(set(numbers))} of {RECORDS} records of KinesisStreamsSink, {copies} twice, "
          f"from shards of {sorted(shards.values())} records")
    assert set(numbers) == set(range(RECORDS))


create_stream(2)
{"read": read, "write": write}[what]()
