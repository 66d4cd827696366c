#!/usr/bin/env python3
"""Record processors on the clients of Amazon for Python and Node.js under kcl-multilang, on a served kinesis-local.

multilang_check.py DAEMON RECORDS FOLDER: two daemons, one with processors in Python, one in Node.js, share the shards of one
stream. Records are put, plain and aggregated, while shards are split and merged; one daemon is killed and followed by
another. Every record must have been given to a processor; then both stop by SIGTERM with 0.
"""

import sys
import time

from multilang_scene import Scene, create_stream, kinesis, merge, put_batches, split, until, STREAM

RECORDS = int(sys.argv[2])
NAMES = ("python-1", "node-1", "python-2")


def held(log):
    """Shards of a daemon, by its log."""
    return log.count("lease taken") - log.count("lease released")


def story(scene):
    begun = time.monotonic()
    has_begun = lambda name: "first records" in scene.log(name).read_text()
    holds_one = lambda name: held(scene.log(name).read_text()) == 1
    create_stream(2)
    scene.start("python-1", "python")
    scene.start("node-1", "node")
    # Records come only then: the first daemon would have read those before it hands a shard over.
    until("a shard for each daemon", lambda: holds_one("python-1") and holds_one("node-1"))
    batches = RECORDS // 500
    changes = {batches * fifth // 5: change for fifth, change in enumerate([split, merge, split, merge], 1)}
    for number in put_batches(range(RECORDS)):
        if number in changes:
            changes[number]()
        if number == 1:
            until("records on both daemons", lambda: has_begun("python-1") and has_begun("node-1"))
            print(f"both daemons have records after {time.monotonic() - begun:.1f} s")
        if number == batches // 2:
            scene.kill("python-1")
            scene.start("python-2", "python")
    until("all records", lambda: len(scene.counts(*NAMES)) == RECORDS)
    scene.stop("python-2")
    scene.stop("node-1")
    counts = scene.counts(*NAMES)
    assert sorted(counts) == list(range(RECORDS)), "records that nobody put were given"
    twice = sum(count - 1 for count in counts.values())
    shards = len(kinesis.list_shards(StreamName=STREAM)["Shards"])
    print(f"{RECORDS} records of {shards} shards, none lost, {twice} given again, in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    Scene(sys.argv[1], sys.argv[3]).play(story)
