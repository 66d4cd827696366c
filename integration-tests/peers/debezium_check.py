#!/usr/bin/env python3
"""The Kinesis sink of Debezium Server writes 20,000 events to a stream of which a shard is split half-way, and kcl reads them.

debezium_check.py WORKER JARS FOLDER: each is delivered as it was put, once.
"""

import subprocess
import sys
import time

from stream_scene import RECORDS, STREAM, KclReader, create_stream, partition_key, split, stored, text

worker, jars, folder = sys.argv[1:]
create_stream(2)
begun = time.monotonic()
java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/classes:{jars}/*"]
java += ["io.debezium.server.kinesis.Sink", STREAM]
with open(f"{folder}/debezium.log", "w", encoding="utf-8") as log:
    sink = subprocess.Popen(java, stdin=subprocess.PIPE, stderr=log, text=True)
    for number in range(RECORDS):
        sink.stdin.write(f"{partition_key(number)}\t{text(number)}\n")
        # The pipe holds some hundred events, and the sink a batch: it is among the first half of them.
        if number == RECORDS // 2:
            sink.stdin.flush()
            split()
    sink.stdin.close()
    assert sink.wait(240) == 0, open(f"{folder}/debezium.log", encoding="utf-8").read()
print(f"the sink of Debezium Server has put {RECORDS} events in {time.monotonic() - begun:.0f} s")

shards = {shard: len(records) for shard, records in stored().items()}
assert len(shards) == 4 and all(shards.values()), f"the split was not amid the events: {shards}"
reader = KclReader([worker], "kcl", folder)
reader.until("all events", lambda: len(reader.numbers()) >= RECORDS and reader.is_through())
reader.stop()
numbers = reader.numbers()
copies = len(numbers) - len(set(numbers))
print(f"kcl delivers {len(set(numbers))} of {RECORDS} events, {copies} twice, from shards of {sorted(shards.values())} records")
assert sorted(numbers) == list(range(RECORDS)), "kcl does not deliver each event once"
