#!/usr/bin/env python3
"""Record processors on the clients of Amazon for Python and Node.js under kcl-multilang, on a served kinesis-local.

multilang_check.py DAEMON RECORDS FOLDER: two daemons, one with processors in Python, one in Node.js, share the shards of one
stream. Records are put, plain and aggregated, while shards are split and merged; one daemon is killed and followed by
another. Every record must have been given to a processor before its checkpoint; then both stop by SIGTERM with 0.
"""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import boto3
from aws_kinesis_agg.aggregator import RecordAggregator

STREAM = "StockTradeStream"
PATIENCE = 90
DAEMON, RECORDS, WORK = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "multilang" / "samples"
FILES = {"python": "processor.py", "node": "processor.js"}

kinesis = boto3.client("kinesis")
daemons = {}


class Daemon:
    def __init__(self, language, number):
        self.name = f"{language}-{number}"
        self.log = WORK / f"{self.name}.log"
        environment = dict(
            os.environ,
            RECORDS_FILE=str(WORK / f"{self.name}.records"),
            KCL_MULTILANG_EXECUTABLE_NAME=str(SAMPLES / language / FILES[language]),
            KCL_MULTILANG_FAILOVER_TIME_MILLIS="3000",
            KCL_MULTILANG_IDLE_TIME_BETWEEN_READS_IN_MILLIS="250",
            KCL_MULTILANG_METRICS_LEVEL="NONE",
            KCL_MULTILANG_WORKER_ID=self.name,
        )
        self.process = subprocess.Popen(
            [DAEMON, str(SAMPLES / language / f"{language}.properties")], env=environment, stderr=self.log.open("w")
        )

    def has_begun(self):
        return "first records" in self.log.read_text()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        assert code == 0, f"{self.name} ended with {code}"


    def end(self):
        """By force, if it runs: its children end with their input."""
        self.process.kill()
        self.process.wait()


def until(what, holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.1)


def put(entries):
    while entries:
        answer = kinesis.put_records(StreamName=STREAM, Records=entries)
        entries = [entry for entry, result in zip(entries, answer["Records"]) if "ErrorCode" in result]


def put_plain(ids):
    put([{"Data": str(number).encode(), "PartitionKey": f"key-{number % 1009}"} for number in ids])


def put_aggregated(ids):
    """Aggregates of one partition key each, so that none is split by a resharding."""
    by_key = collections.defaultdict(list)
    for number in ids:
        by_key[f"key-{number % 5}"].append(str(number))
    entries = []
    for key, values in by_key.items():
        aggregator = RecordAggregator()
        for value in values:
            assert aggregator.add_user_record(key, value.encode()) is None, "one aggregate holds them"
        partition_key, _, data = aggregator.clear_and_get().get_contents()
        entries.append({"Data": bytes(data), "PartitionKey": partition_key})
    put(entries)


def open_shards():
    shards = kinesis.list_shards(StreamName=STREAM)["Shards"]
    shards = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def is_active():
    return kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"


def split():
    shard = open_shards()[0]
    start, end = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
    kinesis.split_shard(StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((start + end + 1) // 2))
    until("the split", is_active)


def merge():
    first, second = open_shards()[:2]
    kinesis.merge_shards(StreamName=STREAM, ShardToMerge=first["ShardId"], AdjacentShardToMerge=second["ShardId"])
    until("the merge", is_active)


def given():
    """How often each record was given to a processor."""
    counts = collections.Counter()
    for path in WORK.glob("*.records"):
        for line in path.read_text().splitlines():
            try:
                counts[int(json.loads(line)["data"])] += 1
            except ValueError:
                pass  # cut off by a kill
    return counts


def main():
    begun = time.monotonic()
    kinesis.create_stream(StreamName=STREAM, ShardCount=2)
    until("the stream", is_active)
    daemons.update(python=Daemon("python", 1), node=Daemon("node", 1))
    step = 500
    changes = {1: split, 2: merge, 3: split, 4: merge}
    for at in range(0, RECORDS, step):
        ids = range(at, min(at + step, RECORDS))
        (put_plain if at // step % 2 else put_aggregated)(ids)
        change = changes.pop(5 * at // RECORDS, None)
        if change:
            change()
        if at == step:
            until("records on both daemons", lambda: all(daemon.has_begun() for daemon in daemons.values()))
            print(f"both daemons have records after {time.monotonic() - begun:.1f} s")
        if at // step == RECORDS // step // 2:
            daemons["python"].end()
            daemons["python"] = Daemon("python", 2)
    until("all records", lambda: len(given()) == RECORDS)
    for daemon in daemons.values():
        daemon.stop()
    counts = given()
    assert sorted(counts) == list(range(RECORDS)), "records that nobody put were given"
    twice = sum(count - 1 for count in counts.values())
    shards = len(kinesis.list_shards(StreamName=STREAM)["Shards"])
    print(f"{RECORDS} records of {shards} shards, none lost, {twice} given again, in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    # A time limit outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    try:
        main()
    except BaseException:
        for log in sorted(WORK.glob("*.log")):
            print(f"--- end of {log.name}", *log.read_text().splitlines()[-40:], sep="\n")
        raise
    finally:
        for daemon in daemons.values():
            daemon.end()
