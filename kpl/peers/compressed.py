"""Reads compressed records from stdin and opens them with the reader of docs/compressed-records.md.

A line is described in kpl/examples/aggregation_cases.rs.
"""

import struct
import sys
from collections import Counter

from compressed_record import open_record

opened, refused = Counter(), 0
for number, line in enumerate(sys.stdin, 1):
    frame, content, dictionary = line.rstrip("\n").split("\t")
    frame, dictionary = bytes.fromhex(frame), bytes.fromhex(dictionary)
    dictionaries = {struct.unpack("<I", dictionary[4:8])[0]: dictionary} if dictionary else {}
    if content != "damaged":
        assert open_record(frame, dictionaries).hex() == content, f"line {number}"
        opened[frame[5], bool(dictionary)] += 1
        continue
    try:
        open_record(frame, dictionaries)
    except ValueError:
        refused += 1
    else:
        raise AssertionError(f"line {number}: the damage is not noticed")

assert open_record(b"plain") == b"plain"
kinds = {(1, False), (2, False), (3, False), (3, True)}
assert set(opened) == kinds and refused == opened.total(), (opened, refused)
print(f"the reader in Python opens {opened.total()} frames and refuses as many damaged ones", file=sys.stderr)
