"""Passwords that are quick to check: the tests here sign in hundreds of times."""

import argon2
import pytest

from tollhouse.access import user

SLOW = user._hasher
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id with the least work; what it costs in truth is tested with `SLOW`."""
    monkeypatch.setattr(user, "_hasher", QUICK)
