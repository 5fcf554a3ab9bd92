"""Make buckets that are not there yet: ``make_buckets.py NAME…``; the storage is that of AWS_ENDPOINT_URL."""

import sys

import boto3

storage = boto3.client("s3")
there = {bucket["Name"] for bucket in storage.list_buckets()["Buckets"]}
for name in sys.argv[1:]:
    if name not in there:
        storage.create_bucket(Bucket=name)
