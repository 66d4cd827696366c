"""A stream that is split while records are put, and what readers of other software deliver of it.

The environment says where the services are.
"""

import base64
import collections
import hashlib
import json
import subprocess
import tempfile
import threading
import time

import boto3
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

from multilang_scene import STREAM, create_stream, is_active, open_shards, until

RECORDS = 20_000
PATIENCE = 120

MAGIC = b"\xf3\x89\x9a\xc2"

kinesis = boto3.client("kinesis")


def text(number):
    """Data of a record, which begin with its number in eight digits."""
    return f"{number:08} " + "x" * (number % 90)


def partition_key(number):
    return f"key-{number % 997}"


def number_of(data):
    return int(data[:8])


def hash_key(key):
    return int.from_bytes(hashlib.md5(key.encode()).digest(), "big")


def split(shard=0, stream=STREAM):
    """Splits an open shard in two halves."""
    shard = open_shards(stream)[shard]
    first, last = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
    middle = str((first + last + 1) // 2)
    kinesis.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=middle)
    until("the split", lambda: is_active(stream))


def put_by_kpl(kds, stream=STREAM, splits=2, numbers=range(RECORDS)):
    """Puts records by kpl in a few seconds; as many open shards are split half-way. One of four has an explicit hash key."""
    command = [kds, "put", stream, "--format", "records", "-"]
    # In a folder for the file of failures.
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=folder) as putting,
    ):
        for number in numbers:
            record = {"partitionKey": partition_key(number), "text": text(number)}
            if number % 4 == 0:
                record["explicitHashKey"] = str(hash_key(str(number)))
            putting.stdin.write(json.dumps(record) + "\n")
            if number % 100 == 0:
                putting.stdin.flush()
                time.sleep(0.01)
            if number == numbers.start + len(numbers) // 2:
                for shard in range(0, 2 * splits, 2):
                    split(shard, stream)
    assert putting.returncode == 0, "kds put failed"


def stored(stream=STREAM):
    """Kinesis records of each shard."""
    found = {}
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        name = shard["ShardId"]
        position = {"StreamName": stream, "ShardId": name, "ShardIteratorType": "TRIM_HORIZON"}
        iterator, found[name] = kinesis.get_shard_iterator(**position)["ShardIterator"], []
        while iterator:
            answer = kinesis.get_records(ShardIterator=iterator)
            found[name] += answer["Records"]
            iterator = answer.get("NextShardIterator") if answer["Records"] or answer["MillisBehindLatest"] else None
    return found


def user_records(records):
    """Numbers of all user records, by a reader that does not compare hash keys."""
    aggregates = [record for record in records if record["Data"].startswith(MAGIC)]
    opened = iter_deaggregate_records(aggregates, data_format="Boto3")
    numbers = [number_of(base64.b64decode(record["kinesis"]["data"])) for record in opened]
    return numbers + [number_of(record["Data"]) for record in records if not record["Data"].startswith(MAGIC)]


class Reader:
    """A process that prints what it reads, a line of JSON for each record: key and, in base64, data."""

    def __init__(self, command, log, environment=None):
        self.log = log
        with open(log, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
            )
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith(b"{"):
                self.lines.append(json.loads(line))

    def records(self):
        """Key and data of each record."""
        return [(line["key"], base64.b64decode(line["data"])) for line in list(self.lines)]

    def until(self, what, holds):
        """Waits for a condition; prints the end of its log if the process ends or takes too long before."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if self.process.poll() is not None:
                self.thread.join()
                if holds():
                    return
            late = time.monotonic() > deadline
            if late or self.process.poll() is not None:
                print(*open(self.log, encoding="utf-8").read().splitlines()[-40:], sep="\n")
                raise AssertionError(f"{'too late' if late else 'ended before'}: {what}; {len(self.lines)} lines")
            time.sleep(0.1)

    def until_quiet(self, seconds=2.0, at_least=1):
        """Waits until it has printed something, and nothing more for a while."""
        self.until("a record", lambda: len(self.lines) >= at_least)
        seen, since = 0, time.monotonic()
        while time.monotonic() - since < seconds:
            if len(self.lines) != seen:
                seen, since = len(self.lines), time.monotonic()
            time.sleep(0.05)

    def stop(self):
        """Ends its input, which ends it."""
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self.thread.join()
        assert code == 0, f"ended with {code}"

    def kill(self):
        self.process.kill()
        self.process.wait()


class KclReader(Reader):
    """A worker of the interoperability scenarios: interop-worker, or the KCL for Java. Its failover time is long by default: alone
    in its fleet, it loses no lease on a machine at its limits."""

    def __init__(self, command, application, folder, **options):
        options = {"worker": "w", "stream": STREAM, "failover": "30000", "retrieval": "polling", **options}
        arguments = [f"application={application}", *(f"{name}={value}" for name, value in options.items())]
        super().__init__([*command, *arguments], f"{folder}/{application}-{options['worker']}.log")

    def numbers(self, key=None):
        """Numbers of the records, each of which must be as it was put, under the same key if one is given."""
        found = []
        for line in list(self.lines):
            for record in line.get("records", []) if line["event"] == "records" else []:
                # The KCL for Java prints arrays.
                number, digest = record[:2] if isinstance(record, list) else (record["id"], record["digest"])
                number = int(number.to_bytes(8, "big"))
                whole = (key or partition_key(number)).encode() + b"\0" + text(number).encode()
                assert digest == hashlib.md5(whole).hexdigest(), f"record {number} is altered"
                found.append(number)
        return found

    def is_through(self):
        """True once it has read the ended shards to their ends, and begun all others."""
        begun = {line["shard"] for line in list(self.lines) if line["event"] == "initialized"}
        ended = {line["shard"] for line in list(self.lines) if line["event"] == "shard_ended"}
        shards = kinesis.list_shards(StreamName=STREAM)["Shards"]
        closed = {shard["ShardId"] for shard in shards if "EndingSequenceNumber" in shard["SequenceNumberRange"]}
        return ended >= closed and len(begun) == len(shards)


def counted(name, records):
    """Checks that user records are as they were put, and counts how often each was delivered."""
    for key, data in records:
        number = number_of(data)
        assert (key, data) == (partition_key(number), text(number).encode()), f"{name} altered record {number}"
    counts = collections.Counter(number_of(data) for _, data in records)
    lost = RECORDS - len(counts)
    twice = sum(counts.values()) - len(counts)
    print(f"{name}: {len(counts)} of {RECORDS} records delivered, {lost} lost, {twice} twice")
    return counts
