"""Signed tokens come back unchanged or not at all, and what is made later gets an identifier that sorts later."""

import string
import threading
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollhouse.kit import ids, signing
from tollhouse.kit.errors import Forbidden, LinkExpired

KEY, NOW = b"k" * 32, 1_700_000_000
names = st.text(string.ascii_lowercase, min_size=1, max_size=8).filter(lambda name: name not in ("key", "purpose", "until"))
values = st.one_of(st.text(max_size=60), st.integers(-(2**53), 2**53), st.booleans(), st.none(), st.lists(st.integers(), max_size=4))
fields = st.dictionaries(names, values, max_size=5)
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first text waits for Unicode's table
purposes = st.sampled_from(["download", "upload", "customer", ""])


@calmly
@given(fields, purposes, st.integers(NOW + 1, NOW + 10**9))
def test_a_token_gives_back_what_it_was_made_from(said: dict[str, Any], purpose: str, until: int) -> None:
    token = signing.sign(KEY, purpose, until, **said)
    assert signing.unsign(KEY, purpose, token, NOW) == said | {"until": until}


@calmly
@given(fields)
def test_a_token_can_stand_in_an_address_as_it_is(said: dict[str, Any]) -> None:
    assert set(signing.sign(KEY, "p", NOW, **said)) <= set(string.ascii_letters + string.digits + "-_.")


@calmly
@given(fields, st.data(), st.characters())
def test_a_token_with_another_character_anywhere_is_refused(said: dict[str, Any], data: st.DataObject, other: str) -> None:
    token = signing.sign(KEY, "p", NOW + 60, **said)
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + other + token[at + 1 :]
    if changed == token:
        assert signing.unsign(KEY, "p", changed, NOW)
        return
    with pytest.raises(Forbidden) as refused:
        signing.unsign(KEY, "p", changed, NOW)
    assert not isinstance(refused.value, LinkExpired)


def test_every_single_character_counts() -> None:
    token = signing.sign(KEY, "p", NOW + 60, id="fil_1")
    for at, present in enumerate(token):
        for other in string.ascii_letters + string.digits + "-_.=":
            if other != present:
                with pytest.raises(Forbidden):
                    signing.unsign(KEY, "p", token[:at] + other + token[at + 1 :], NOW)


@calmly
@given(fields, st.data())
def test_a_token_with_something_left_out_or_put_in_is_refused(said: dict[str, Any], data: st.DataObject) -> None:
    token = signing.sign(KEY, "p", NOW + 60, **said)
    at = data.draw(st.integers(0, len(token) - 1))
    for changed in (token[:at] + token[at + 1 :], token[:at], token[:at] + "A" + token[at:], f"{token}=", f"{token}.", f".{token}"):
        if changed != token:
            with pytest.raises(Forbidden):
                signing.unsign(KEY, "p", changed, NOW)


@calmly
@given(st.text(max_size=200))
def test_what_is_no_token_at_all_is_refused(text: str) -> None:
    with pytest.raises(Forbidden):
        signing.unsign(KEY, "p", text, NOW)


@calmly
@given(fields, purposes, purposes)
def test_a_token_for_one_thing_is_none_for_another(said: dict[str, Any], made_for: str, used_for: str) -> None:
    token = signing.sign(KEY, made_for, NOW + 60, **said)
    if made_for == used_for:
        assert signing.unsign(KEY, used_for, token, NOW)
        return
    with pytest.raises(Forbidden):
        signing.unsign(KEY, used_for, token, NOW)


def test_a_purpose_and_a_content_cannot_be_cut_at_another_place() -> None:
    token = signing.sign(KEY, "down", NOW + 60, a="load")
    for purpose in ("d", "dow", "down\0", "downl", 'down\0{"a":"load"'):
        with pytest.raises(Forbidden):
            signing.unsign(KEY, purpose, token, NOW)


@calmly
@given(fields)
def test_another_servers_token_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Forbidden):
        signing.unsign(b"l" * 32, "p", signing.sign(KEY, "p", NOW + 60, **said), NOW)


@calmly
@given(st.integers(-(10**6), 10**6))
def test_a_token_is_good_until_its_second_and_not_in_it(seconds: int) -> None:
    token = signing.sign(KEY, "p", NOW + seconds)
    if seconds > 0:
        assert signing.unsign(KEY, "p", token, NOW) == {"until": NOW + seconds}
        return
    with pytest.raises(LinkExpired):
        signing.unsign(KEY, "p", token, NOW)


def test_a_token_about_the_longest_names_that_there_are_can_be_read_again() -> None:
    said = {"customer": "\N{DRAGON}" * 255, "kind": "\N{DRAGON}" * 80, "origin": "x" * 200}
    assert signing.unsign(KEY, "p", signing.sign(KEY, "p", NOW + 1, **said), NOW) == said | {"until": NOW + 1}


def test_identifiers_rise_whichever_thread_makes_them() -> None:
    made: list[str] = []
    turn, start = threading.Lock(), threading.Barrier(8)

    def make() -> None:
        start.wait()
        for _ in range(2000):
            with turn:
                made.append(ids.new("x"))

    together(make)
    assert made == sorted(set(made))
    assert len(made) == 16_000


def test_threads_that_do_not_wait_for_each_other_never_make_the_same_identifier() -> None:
    made: list[list[str]] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        mine = [ids.new("x") for _ in range(5000)]
        assert mine == sorted(mine)
        made.append(mine)

    together(make)
    assert len({id for mine in made for id in mine}) == 40_000


def together(work: Any) -> None:
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_identifiers_rise_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids.new("x")
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3_600 * 10**9)
    after = [ids.new("x") for _ in range(100)]
    assert [before, *after] == sorted({before, *after})


def test_an_identifier_says_what_it_is_and_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    prefix, _, rest = ids.new("job").partition("_")
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    assert (prefix, len(rest)) == ("job", 26)
    number = 0
    for character in rest:
        number = number * 32 + alphabet.index(character)
    assert before <= number >> 80 <= time.time_ns() // 1_000_000 + 1
