#!/usr/bin/env python3
"""Spark Streaming's Kinesis receiver on a stream that is split half-way of 20,000 records put by kpl, and kcl on its table.

spark_check.py KDS WORKER JARS FOLDER: each is delivered as it was put, once. After a restart the last aggregate of each shard is
delivered again without its first user record, which the checkpoint names. Then kcl takes the receiver's table over, while a
shard is split, and reads 10,000 more: none lost, and none twice but those that the receiver gets again, too. The receiver's KCL
1.x speaks TLS with DynamoDB, whatever its endpoint: a proxy takes it off.
"""

import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import urllib.parse

import boto3

from stream_scene import RECORDS, STREAM, KclReader, Reader, counted, create_stream, number_of, put_by_kpl, stored, user_records

MORE = 10_000
# Attributes that every lease of KCL 1.12, Spark's, has, and those that it may have besides.
ALWAYS = {"leaseKey", "leaseCounter", "checkpoint", "checkpointSubSequenceNumber", "ownerSwitchesSinceCheckpoint"}
AT_TIMES = {"leaseOwner", "parentShardId"}

kds, kcl, jars, folder = sys.argv[1:]
folder = pathlib.Path(folder)


def pump(source, sink):
    """Carries bytes until one side ends."""
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            end.close()


def without_tls(address):
    """Port of a proxy that speaks TLS and carries what it is sent to an address."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-days", "1", "-nodes"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", key, "-out", certificate, *subject]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=carry, args=(plain,), daemon=True).start()

    def carry(plain):
        client, server = tls.wrap_socket(plain, server_side=True), socket.create_connection(address)
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        pump(client, server)

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


dynamodb = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL_DYNAMODB"])
port = without_tls((dynamodb.hostname, dynamodb.port))
regions = folder / "regions.xml"
regions.write_text(f"""<XML><Regions><Region><Name>us-east-1</Name><Domain>amazonaws.com</Domain><Endpoint>
<ServiceName>dynamodb</ServiceName><Http>true</Http><Https>true</Https><Hostname>127.0.0.1:{port}</Hostname>
</Endpoint></Region></Regions></XML>""")
opens = ["java.nio", "java.lang", "java.lang.invoke", "java.util", "java.util.concurrent", "java.net"]
java = ["java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dcom.amazonaws.sdk.disableCertChecking=true"]
java += [f"-Dcom.amazonaws.regions.RegionUtils.fileOverride={regions}", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"]
java += [*(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in opens), "-cp", f"{jars}/classes:{jars}/*", "Spark"]

create_stream(2)
put_by_kpl(kds)
tails = [number for records in stored().values() if records for number in user_records(records[-1:])[1:]]
spark = Reader([*java, STREAM, "spark"], folder / "spark.log")
spark.until("all records", lambda: len(set(spark.records())) >= RECORDS)
spark.stop()
counts = counted("Spark", spark.records())
assert len(counts) == RECORDS and sum(counts.values()) == RECORDS, "Spark does not deliver each record once"

again = Reader([*java, STREAM, "spark"], folder / "spark-again.log")
again.until_quiet(8.0)
again.stop()
numbers = [number_of(data) for _, data in again.records()]
print(f"Spark, started again: {len(numbers)} records a second time")
assert set(numbers) <= set(tails), "Spark delivers others than the tails of aggregates again"


def leases():
    """Items of the receiver's table."""
    return boto3.client("dynamodb").scan(TableName="spark", ConsistentRead=True)["Items"]


for lease in leases():
    assert ALWAYS <= lease.keys() <= ALWAYS | AT_TIMES, f"a lease of Spark has other attributes: {lease}"
    assert lease["checkpointSubSequenceNumber"] == {"N": "0"}, f"a checkpoint of Spark is within an aggregate: {lease}"
checkpoints = [lease["checkpoint"]["S"] for lease in leases()]
print(f"Spark's table: {len(checkpoints)} leases, {checkpoints.count('SHARD_END')} at SHARD_END")

put_by_kpl(kds, splits=1, numbers=range(RECORDS, RECORDS + MORE))
# Spark's failover time is 10 s. The worker begins when nobody has changed a lease for twice that.
worker = KclReader([kcl], "spark", folder, adopt="true", failover="10000")
worker.until("the rest", lambda: set(worker.numbers()) >= set(range(RECORDS, RECORDS + MORE)))
worker.until("the end of the shard that was split", lambda: any(line["event"] == "shard_ended" for line in list(worker.lines)))
worker.stop()
numbers = worker.numbers()
old = [number for number in numbers if number < RECORDS]
print(f"kcl on Spark's table: {len(set(numbers)) - len(set(old))} of {MORE} records, {len(old)} of those before again")
assert set(old) <= set(tails), "kcl delivers others than the tails of aggregates again"
assert len(numbers) == len(set(numbers)), "kcl delivers a record twice"
