"""A worker process for tests: `python -m tests.client.labour URL KEY SCRATCH`. It reverses what it is given."""

import hashlib
import logging
import sys

from tollhouse_client import Job, Worker


def reverse(job: Job) -> tuple[str, bytes]:
    """Every file's bytes backwards, one after the other."""
    turned = []
    for at, file in enumerate(job.files):
        job.progress(100 * at // len(job.files), f"file {at + 1} of {len(job.files)}")
        turned.append(file.read()[::-1])
        hashlib.pbkdf2_hmac("sha256", turned[-1], b"salt", 50_000)  # some work, so that a kill finds the worker at it
    return "reversed.txt", b"".join(turned)


def main() -> None:
    """Work until stopped."""
    logging.basicConfig(level=logging.ERROR)
    url, key, scratch = sys.argv[1:4]
    worker = Worker(url, key, wait=1.0, retry_seconds=0.1, scratch_dir=scratch)
    worker.job("reverse")(reverse)
    worker.run()


if __name__ == "__main__":
    main()
