"""The peer of bench/s3_rate.py: `python -m bench._s3_put ENDPOINT FILE COUNT` puts a file so often, and prints [seconds, CPU seconds]."""

from __future__ import annotations

import json
import sys
import time

from minio import Minio

from tests.support.minio import PASSWORD, USER


def main() -> None:
    endpoint, file, count = sys.argv[1:]
    client = Minio(endpoint, access_key=USER, secret_key=PASSWORD, secure=False)
    client.make_bucket("peer")
    client.fput_object("peer", "warm", file)
    used, began = time.process_time(), time.monotonic()
    for number in range(int(count)):
        client.fput_object("peer", f"minute-{number}.mp4", file, content_type="video/mp4")
    print(json.dumps([time.monotonic() - began, time.process_time() - used]))


if __name__ == "__main__":
    main()
