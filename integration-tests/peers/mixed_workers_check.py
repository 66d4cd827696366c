#!/usr/bin/env python3
"""Workers of kcl and of the KCL for Java in one application: on two streams, or on one with a worker of kcl by enhanced fan-out.

mixed_workers_check.py streams|fan-out KDS WORKER JARS FOLDER: 20,000 records while shards are split; a worker of each language is
killed, and another one comes. No record is lost, and no shard has two leases.
"""

import collections
import sys
import threading
import time

import boto3

from stream_scene import RECORDS, STREAM, KclReader, create_stream, kinesis, put_by_kpl, until

what, kds, program, jars, folder = sys.argv[1:]
JAVA = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/classes:{jars}/*", "Consume"]
STREAMS = [STREAM, f"{STREAM}-2"] if what == "streams" else [STREAM]
APPLICATION = "mixed"
table = boto3.resource("dynamodb").Table(APPLICATION)


def worker(name, command, retrieval="polling"):
    return KclReader(
        command, APPLICATION, folder, worker=name, stream=",".join(STREAMS), retrieval=retrieval, failover="5000"
    )


def leases():
    return [item for item in table.scan()["Items"] if item["leaseKey"].count("shardId-") == 1]


def lease_keys():
    """Keys of the leases that must be there, those of open shards, and of all that may be."""
    open_keys, all_keys = set(), set()
    for stream in STREAMS:
        summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
        account, epoch = summary["StreamARN"].split(":")[4], int(summary["StreamCreationTimestamp"].timestamp())
        prefix = f"{account}:{stream}:{epoch}:" if len(STREAMS) > 1 else ""
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
            all_keys.add(prefix + shard["ShardId"])
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]:
                open_keys.add(prefix + shard["ShardId"])
    return open_keys, all_keys


def owners():
    """Number of open leases of each owner."""
    return collections.Counter(lease.get("leaseOwner") for lease in leases() if lease["checkpoint"] != "SHARD_END")


def shared_by(*names):
    """Waits until these share all open leases."""
    begun = time.monotonic()

    def shared():
        try:
            return set(owners()) == set(names)
        except table.meta.client.exceptions.ResourceNotFoundException:
            return False

    until(f"leases of {names}", shared, 90)
    print(f"{', '.join(names)} share the leases after {time.monotonic() - begun:.0f} s: {dict(owners())}")


def processed(workers):
    return collections.Counter(number for one in workers for number in one.numbers())


def put(stream, first):
    put_by_kpl(kds, stream, 2, range(first, first + RECORDS // len(STREAMS)))


def story():
    rust = [program]
    workers = {"rust-1": worker("rust-1", rust, "fan-out" if what == "fan-out" else "polling")}
    shared_by("rust-1")
    workers["java-1"] = worker("java-1", JAVA)
    shared_by("rust-1", "java-1")
    threads = [threading.Thread(target=put, args=(stream, number * RECORDS // len(STREAMS)))
               for number, stream in enumerate(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared_by("rust-1", "java-1")
    workers["rust-1"].kill()
    shared_by("java-1")
    workers["rust-2"] = worker("rust-2", rust, "fan-out" if what == "fan-out" else "polling")
    shared_by("rust-2", "java-1")
    workers["java-1"].kill()
    shared_by("rust-2")
    workers["rust-2"].until("all records", lambda: len(processed(workers.values())) == RECORDS)
    workers["rust-2"].stop()
    return workers


create_stream(2)
for stream in STREAMS[1:]:
    kinesis.create_stream(StreamName=stream, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
workers = story()
counts = processed(workers.values())
by_language = {name: len(one.numbers()) for name, one in workers.items()}
assert sorted(counts) == list(range(RECORDS)), f"{RECORDS - len(counts)} records are lost"
assert all(by_language[name] for name in ("rust-1", "java-1")), f"a worker had no records: {by_language}"
open_keys, all_keys = lease_keys()
keys = [lease["leaseKey"] for lease in leases()]
# Leases of ended shards may be deleted.
assert open_keys <= set(keys) <= all_keys and len(keys) == len(set(keys)), f"leases {keys} of shards {all_keys}"
twice = sum(counts.values()) - RECORDS
print(f"{RECORDS} records of {len(all_keys)} shards in {len(STREAMS)} streams, none lost, {twice} twice: {by_language}")
