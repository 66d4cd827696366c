#!/usr/bin/env bash
# PyPI moto 5.2.5 deletes an item although the `Expected` of its DeleteItem is not met.
#
# PutItem and UpdateItem of the same emulator refuse the same condition. Java's KCL writes leases with these legacy
# conditions, so a test fleet on moto may see a worker delete a lease that another worker has renewed since: what DynamoDB
# refuses is carried out, and no client is given an error.
#
# Seen (boto3 1.43.106, Python 3.11): the lines that this script prints. Fails if the package behaves otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[dynamodb]==5.2.5' boto3==1.43.106

cat >"$work/conditions.py" <<'PY'
import boto3
from botocore.exceptions import ClientError
from moto import mock_aws


def attempt(name, call, **arguments):
    try:
        call(TableName="leases", Expected={"leaseCounter": {"Value": {"N": "6"}}}, **arguments)
        print(f"{name}: carried out")
    except ClientError as error:
        print(f"{name}: {error.response['Error']['Code']}")


with mock_aws():
    dynamodb = boto3.client("dynamodb", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    dynamodb.create_table(
        TableName="leases",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
    )
    key = {"leaseKey": {"S": "shardId-000000000000"}}
    dynamodb.put_item(TableName="leases", Item={**key, "leaseCounter": {"N": "7"}})
    attempt("PutItem", dynamodb.put_item, Item={**key, "leaseCounter": {"N": "8"}})
    update = {"leaseCounter": {"Value": {"N": "8"}, "Action": "PUT"}}
    attempt("UpdateItem", dynamodb.update_item, Key=key, AttributeUpdates=update)
    attempt("DeleteItem", dynamodb.delete_item, Key=key)
    print("the item is", "there" if "Item" in dynamodb.get_item(TableName="leases", Key=key) else "gone")
PY
found=$("$work/venv/bin/python" "$work/conditions.py")
echo "$found"
[ "$found" = 'PutItem: ConditionalCheckFailedException
UpdateItem: ConditionalCheckFailedException
DeleteItem: carried out
the item is gone' ]
