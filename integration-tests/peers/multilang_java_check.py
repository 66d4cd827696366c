#!/usr/bin/env python3
"""The daemon for Java and kcl-multilang, with the same processors in Python, on a served kinesis-local.

multilang_java_check.py DAEMON FOLDER JARS: first each alone, as an application of its own, on one stream with a shard that is
closed: the same records in the same order, and the same checkpoints in the tables. Then both in one fleet: the daemon for
Java leads, kcl-multilang joins, Java is killed; no record is lost.
"""

import collections
import sys
import time

import boto3

from multilang_scene import Scene, create_stream, merge, open_shards, put_batches, split, until

RECORDS = 3_000
MORE = 3_000
# The daemon for Java waits for a minute after it has made its leases, and up to 22 s before.
JAVA_PATIENCE = 300

dynamodb = boto3.client("dynamodb")


def leases(application):
    """Checkpoint and owner of each shard."""
    found = {}
    for item in dynamodb.scan(TableName=application, ConsistentRead=True)["Items"]:
        if "checkpoint" in item:
            checkpoint = (item["checkpoint"]["S"], item["checkpointSubSequenceNumber"]["N"])
            found[item["leaseKey"]["S"]] = (checkpoint, item.get("leaseOwner", {}).get("S"))
    return found


def checkpoints(application):
    """Those of open shards. The lease of an ended one is deleted, by Java some minutes later."""
    names = {shard["ShardId"] for shard in open_shards()}
    found = leases(application)
    ended = {checkpoint[0] for shard, (checkpoint, _) in found.items() if shard not in names}
    assert ended <= {"SHARD_END"}, f"a closed shard of {application} is at {ended}"
    return {shard: checkpoint for shard, (checkpoint, _) in found.items() if shard in names}


def by_shard(lines):
    found = collections.defaultdict(list)
    for line in lines:
        found[line["shardId"]].append(tuple(sorted(line.items())))
    return found


def alone(scene, jars):
    for number in put_batches(range(RECORDS)):
        if number == 3:
            split()
    scene.start("java", "python", "SideJava", jars)
    scene.start("rust", "python", "SideRust")
    until("all records by kcl-multilang", lambda: len(scene.counts("rust")) == RECORDS)
    until("all records by Java", lambda: len(scene.counts("java")) == RECORDS, JAVA_PATIENCE)
    assert by_shard(scene.lines("java")) == by_shard(scene.lines("rust")), "they were given different records"
    assert max(scene.counts("rust").values()) == 1, "records were given twice"
    deadline = time.monotonic() + 30
    while checkpoints("SideJava") != checkpoints("SideRust"):
        assert time.monotonic() < deadline, f"{checkpoints('SideJava')} are not {checkpoints('SideRust')}"
        time.sleep(0.5)
    scene.stop("rust")
    print(f"{RECORDS} records each, the same in the same order; {len(checkpoints('SideRust'))} leases, the same checkpoints")


def together(scene):
    scene.start("joins", "python", "SideJava")
    names = [shard["ShardId"] for shard in open_shards()]
    owners = lambda: {owner for shard, (_, owner) in leases("SideJava").items() if shard in names}
    begun = time.monotonic()
    until("a share for kcl-multilang", lambda: owners() == {"java", "joins"}, JAVA_PATIENCE)
    print(f"kcl-multilang has a share of Java's fleet after {time.monotonic() - begun:.1f} s")
    killed = None
    for number in put_batches(range(RECORDS, RECORDS + MORE)):
        if number == 1:
            split()
        if number == 2:
            is_given = lambda: len(scene.counts("java", "joins")) >= RECORDS + 1000
            until("records in the fleet", is_given, JAVA_PATIENCE)
            scene.kill("java")
            killed = time.monotonic()
        if number == 3:
            merge()
    until("all records", lambda: len(scene.counts("java", "joins")) == RECORDS + MORE, JAVA_PATIENCE)
    assert killed, "Java was killed"
    twice = sum(count - 1 for count in scene.counts("java", "joins").values())
    print(f"Java is killed; all {MORE} records {time.monotonic() - killed:.1f} s later, none lost, {twice} given again")
    scene.stop("joins")


def story(scene):
    create_stream(2)
    alone(scene, sys.argv[3])
    together(scene)


if __name__ == "__main__":
    Scene(sys.argv[1], sys.argv[2]).play(story)
