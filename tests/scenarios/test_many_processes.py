"""Outgrown: two web processes and a worker share PostgreSQL, and nothing is counted twice."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tollhouse.store.lock import read_holder

TOLLHOUSE = str(Path(sys.executable).with_name("tollhouse"))


@contextmanager
def process(verb: str, data: Path, environment: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    """A Tollhouse process that has said its first line."""
    command = [TOLLHOUSE, verb, "--data", str(data), *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert "Tollhouse" in running.stdout.readline()
        yield running
        running.terminate()
        running.communicate(timeout=60)
        assert running.returncode == 0


def test_two_web_processes_count_each_event_once_and_a_worker_joins_them(postgres: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TOLLHOUSE_RECORDS_URL": postgres, "TOLLHOUSE_EVENTS_URL": postgres, "HOME": str(tmp_path)}
    with ExitStack() as stack:
        places = []
        for name in ("one", "two"):
            stack.enter_context(process("web", tmp_path / name, environment, "--port", "0"))
            places.append(read_holder(tmp_path / name))
        stack.enter_context(process("worker", tmp_path / "worker", environment))
        events = [{"id": f"e{at}", "type": "compute_seconds", "subject": f"c{at % 7}", "data": {"seconds": 1}} for at in range(2000)]
        answers: list[dict[str, Any]] = []

        def send(holder: dict[str, Any]) -> None:
            with httpx.Client(base_url=holder["url"], headers={"authorization": f"Bearer {holder['token']}"}, trust_env=False) as client:
                for at in range(0, 2000, 100):
                    answers.append(client.post("/api/events", content=json.dumps(events[at : at + 100])).raise_for_status().json())

        threads = [threading.Thread(target=send, args=[holder]) for holder in places * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(answer["inserted"] for answer in answers) == 2000
        assert sum(answer["duplicates"] for answer in answers) == 6000
        for holder in places:
            headers = {"authorization": f"Bearer {holder['token']}"}
            query = httpx.get(f"{holder['url']}/api/meters/compute_seconds/query", headers=headers, trust_env=False).json()
            assert query["data"][0]["value"] == 2000


def test_several_processes_without_shared_stores_are_refused(tmp_path: Path) -> None:
    done = subprocess.run([TOLLHOUSE, "web", "--data", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7
    assert "TOLLHOUSE_RECORDS_URL" in done.stderr
