"""A stream, daemons with the samples as processors, and the records that these were given."""

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
SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "multilang" / "samples"
FILES = {"python": "processor.py", "node": "processor.js"}

kinesis = boto3.client("kinesis")


class Scene:
    """Daemons by name, and a folder for their files."""

    def __init__(self, program, folder):
        self.program, self.folder = program, pathlib.Path(folder)
        self.daemons = {}

    def start(self, name, language, application="MultilangSample", jars=None):
        """A daemon of this library, or with `jars` the one for Java."""
        properties = self.folder / f"{name}.properties"
        kept = (SAMPLES / language / f"{language}.properties").read_text().splitlines()
        own = {
            "executableName": SAMPLES / language / FILES[language],
            "applicationName": application,
            "failoverTimeMillis": 3000,
            "idleTimeBetweenReadsInMillis": 250,
            "metricsLevel": "NONE",
            "workerId": name,
        }
        kept = [line for line in kept if line.split(" ")[0] not in own]
        properties.write_text("\n".join(kept + [f"{key} = {value}" for key, value in own.items()]) + "\n")
        java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*:{self.folder}"]
        java += ["software.amazon.kinesis.multilang.MultiLangDaemon", "--properties-file", properties.name]
        command = java if jars else [self.program, str(properties)]
        environment = dict(os.environ, RECORDS_FILE=str(self.records(name)))
        log = self.log(name).open("w")
        daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder)
        self.daemons[name] = daemon

    def log(self, name):
        return self.folder / f"{name}.log"

    def records(self, name):
        return self.folder / f"{name}.records"

    def lines(self, name):
        """What the processors of a daemon were given; a last line that a kill has cut off is left out."""
        path = self.records(name)
        text = path.read_text() if path.exists() else ""
        found = []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def counts(self, *names):
        """Number of times that each record was given to a processor of these daemons."""
        return collections.Counter(int(line["data"]) for name in names for line in self.lines(name))

    def stop(self, name, code=0):
        daemon = self.daemons[name]
        daemon.send_signal(signal.SIGTERM)
        ended = daemon.wait(PATIENCE)
        assert ended == code, f"{name} ended with {ended}"

    def kill(self, name):
        """Its children end with their input."""
        self.daemons[name].kill()
        self.daemons[name].wait()

    def play(self, story):
        """Runs a story; prints the ends of the logs if it fails, and leaves no daemon behind."""
        # A time limit outside.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
        try:
            story(self)
        except BaseException:
            for log in sorted(self.folder.glob("*.log")):
                print(f"--- end of {log.name}", *log.read_text().splitlines()[-40:], sep="\n")
            raise
        finally:
            for name in self.daemons:
                self.kill(name)


def until(what, holds, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
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


def put_batches(ids, size=500):
    """Aggregated and plain records in turn; yields after each batch."""
    for number, at in enumerate(range(ids.start, ids.stop, size)):
        batch = range(at, min(at + size, ids.stop))
        (put_plain if number % 2 else put_aggregated)(batch)
        yield number


def create_stream(shards):
    kinesis.create_stream(StreamName=STREAM, ShardCount=shards)
    until("the stream", is_active)


def open_shards(stream=STREAM):
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    shards = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def is_active(stream=STREAM):
    return kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"


def split():
    shard = open_shards()[0]
    start, end = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
    kinesis.split_shard(StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((start + end + 1) // 2))
    until("the split", is_active)


def merge():
    first, second = open_shards()[:2]
    kinesis.merge_shards(StreamName=STREAM, ShardToMerge=first["ShardId"], AdjacentShardToMerge=second["ShardId"])
    until("the merge", is_active)
