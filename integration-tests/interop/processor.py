#!/usr/bin/env python3
"""A record processor of the multi-language daemon that says what happens in lines of JSON, as the workers of the
interoperability scenarios do.

processor.py [LIMIT]: after LIMIT records of its shard it processes no more. It speaks the protocol itself, as Amazon's clients
know either the daemon of KCL 1.x or later ones. Its lines go to standard error, which the daemon passes on. The protocol has no
explicit hash keys, and does not say which records were aggregated.
"""

import base64
import hashlib
import json
import sys


class Processor:
    def __init__(self, limit):
        self.left = limit
        self.shard = None

    def run(self):
        while line := sys.stdin.readline():
            action = json.loads(line)
            self.act(action["action"], action)
            answer({"action": "status", "responseFor": action["action"]})

    def act(self, name, action):
        if name == "initialize":
            self.shard = action["shardId"]
            self.tell("initialized", checkpoint=action["sequenceNumber"], sub=action["subSequenceNumber"])
        elif name == "processRecords":
            self.process(action["records"][: self.left])
        elif name == "shardEnded" or action.get("reason") == "TERMINATE":
            self.checkpoint(None, None)
            self.tell("shard_ended")
        elif name == "shutdownRequested":
            self.tell("shutdown_requested")
        else:
            self.tell("lease_lost")

    def process(self, records):
        if not records:
            return
        self.left -= len(records)
        self.tell("records", records=[told(record) for record in records])
        self.checkpoint(records[-1]["sequenceNumber"], records[-1]["subSequenceNumber"])
        if self.left == 0:
            self.tell("limit")

    def checkpoint(self, sequence_number, sub_sequence_number):
        position = {"sequenceNumber": sequence_number, "subSequenceNumber": sub_sequence_number}
        answer({"action": "checkpoint", **position})
        error = json.loads(sys.stdin.readline()).get("error")
        if error == "ShutdownException":
            self.tell("checkpoint_refused")
        elif error:
            sys.exit(f"the checkpoint failed: {error}")

    def tell(self, event, **fields):
        sys.stderr.write(json.dumps({"event": event, "shard": self.shard, **fields}) + "\n")
        sys.stderr.flush()


def answer(action):
    sys.stdout.write(json.dumps(action) + "\n")
    sys.stdout.flush()


def told(record):
    """Number and digest of a record."""
    data = base64.b64decode(record["data"])
    digest = hashlib.md5(record["partitionKey"].encode() + b"\0" + data).hexdigest()
    return {"id": int.from_bytes(data[:8], "big"), "digest": digest, "hash_key": "", "aggregated": False}


if __name__ == "__main__":
    Processor(int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize).run()
