"""Bringing alerts to their channels: a real webhook receiver that fails, stalls and recovers, and a real mail server."""

import threading
from dataclasses import replace
from datetime import timedelta
from email.header import decode_header, make_header

import apprise
import pytest

from tests.alerts.conftest import TERMS, Watch, founded
from tests.alerts.receivers import Mailbox, Webhook, webhook
from tests.scenarios.serving import wait_until
from tollhouse import alerts
from tollhouse.alerts import DeliveryTerms, Happened
from tollhouse.alerts.delivery import LOST, claim
from tollhouse.kit.errors import Conflict, NotFound, Unavailable, Unprocessable
from tollhouse.store.records import Records

FAILED = Happened("backup", ("failed",))


def alarm(watch: Watch, *subjects: str) -> None:
    """A backup fails, and the rule finds it."""
    watch.rule("Backup failed", FAILED, "critical")
    for subject in subjects or ("nightly",):
        watch.happens("backup", "failed", subject, reason="the disk is full")
    watch.evaluate()


def test_a_webhook_receives_title_and_message(watch: Watch, hook: Webhook) -> None:
    watch.channel(hook.url, kind="webhook")
    alarm(watch)
    assert watch.deliverer().deliver() == 1
    (sent,) = hook.received
    assert sent["title"] == "[critical] Backup failed: nightly"
    assert sent["message"].endswith("Reason: the disk is full")
    assert (watch.delivery().status, watch.delivery().attempts) == ("sent", 1)
    assert watch.deliverer().deliver() == 0
    assert ("delivered", "alerts") in watch.told()


def test_a_mail_server_receives_the_message(watch: Watch, post: Mailbox) -> None:
    watch.channel(post.address, kind="email")
    alarm(watch, "nächtlich\r\nBcc: mallory@example.com")
    assert watch.deliverer().deliver() == 1
    (sent,) = post.messages
    assert str(make_header(decode_header(sent["subject"]))) == "[critical] Backup failed: nächtlich Bcc: mallory@example.com"
    assert post.recipients == ["team@manga.example"]
    assert sent["bcc"] is None


def test_a_mail_server_that_refuses_is_tried_again(watch: Watch, post: Mailbox) -> None:
    watch.channel(post.address, kind="email")
    alarm(watch)
    post.refusal = "451 Try again later"
    assert watch.deliverer().deliver() == 0
    assert watch.delivery().status == "failed"
    post.refusal = ""
    watch.later(seconds=30)
    assert watch.deliverer().deliver() == 1


def test_a_receiver_that_fails_is_tried_again_later_and_later_until_it_recovers(watch: Watch, hook: Webhook) -> None:
    watch.channel(hook.url, kind="webhook")
    alarm(watch)
    hook.status = 503
    deliverer = watch.deliverer()
    assert deliverer.deliver() == 0
    failed = watch.delivery()
    assert (failed.status, failed.attempts, failed.next_at - watch.now) == ("failed", 1, timedelta(seconds=30))
    assert "503" in (failed.error or "")
    assert deliverer.deliver() == 0
    assert hook.tried == 1, "its pause is not over"
    watch.later(seconds=30)
    deliverer.deliver()
    assert watch.delivery().next_at - watch.now == timedelta(seconds=60)
    hook.recover()
    watch.later(seconds=60)
    assert deliverer.deliver() == 1
    assert (watch.delivery().status, watch.delivery().attempts) == ("sent", 3)
    assert len(hook.received) == 1


def test_attempts_are_bounded_and_the_dead_end_is_a_row_of_the_journal(watch: Watch, hook: Webhook) -> None:
    watch.channel(hook.url, kind="webhook")
    alarm(watch)
    hook.status = 500
    for _ in range(6):
        watch.deliverer().deliver()
        watch.later(hours=1)
    assert (watch.delivery().status, hook.tried) == ("dead", TERMS.attempts)
    assert watch.told()[-1] == ("undelivered", "alerts")
    with watch.records.reading() as session:
        assert alerts.count_dead(session, watch.organization) == 1


def dead(watch: Watch, hook: Webhook) -> str:
    """A delivery that has come to a dead end; its id."""
    watch.channel(hook.url, kind="webhook")
    alarm(watch)
    hook.status = 500
    for _ in range(TERMS.attempts):
        watch.deliverer().deliver()
        watch.later(hours=1)
    assert watch.delivery().status == "dead"
    return watch.delivery().id


def again(watch: Watch, id: str) -> alerts.Delivery:
    with watch.records.transaction() as session:
        return alerts.retry(session, watch.organization, id, watch.now, "alice")


def test_a_dead_delivery_is_tried_again_by_hand_with_all_its_attempts(watch: Watch, hook: Webhook) -> None:
    id = dead(watch, hook)
    assert (again(watch, id).status, again_refused(watch, id)) == ("pending", "pending")
    assert watch.told()[-1] == ("retried", "alice")
    assert watch.deliverer().deliver() == 0
    assert (watch.delivery().status, watch.delivery().attempts) == ("failed", 1)
    watch.later(hours=1)
    hook.recover()
    assert watch.deliverer().deliver() == 1
    assert (watch.delivery().status, again_refused(watch, id)) == ("sent", "sent")
    assert len(hook.received) == 1


def again_refused(watch: Watch, id: str) -> str:
    """In which state it is said to be that it cannot be tried again."""
    with pytest.raises(Conflict, match="only one that has come to a dead end") as refused:
        again(watch, id)
    return refused.value.detail.split()[3].rstrip(";")


def test_a_dead_delivery_of_another_organization_is_not_known(watch: Watch, hook: Webhook) -> None:
    id, other = dead(watch, hook), founded(watch.records, "Beats")
    for unknown in (id, "delivery_unknown"):
        with pytest.raises(NotFound, match="There is no delivery"):
            again(other, unknown)
    assert watch.delivery().status == "dead"


def test_what_was_on_its_way_to_a_deleted_channel_cannot_be_tried_again(watch: Watch, hook: Webhook) -> None:
    id = dead(watch, hook)
    with watch.records.transaction() as session:
        alerts.remove_channel(session, watch.organization, watch.delivery().channel, watch.now, "alice")
    with pytest.raises(Conflict, match="has been deleted; there is nowhere to bring it"):
        again(watch, id)


def test_a_failure_tells_nothing_of_the_address_however_it_is_written(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.channel("json://127.0.0.1:9/first-token?-X=1&+Key=p%40ssword-two", kind="webhook")
    alarm(watch)

    def broken(*_: object, **__: object) -> bool:
        raise ValueError("no http://127.0.0.1:9/first-token with p@ssword-two or p%40ssword-two")

    monkeypatch.setattr(apprise.NotifyBase, "notify", broken)
    watch.deliverer().deliver()
    assert watch.delivery().error == "ValueError: no http://127.0.0.1:9/… with … or …."


def test_pauses_double_and_end_at_six_hours() -> None:
    terms = DeliveryTerms()
    assert [terms.pause(attempt).total_seconds() for attempt in (1, 2, 3, 4, 5)] == [30, 60, 120, 240, 480]
    assert terms.pause(1000) == timedelta(hours=6)


def test_a_receiver_that_stalls_holds_up_nobody_else_and_recovers(watch: Watch, hook: Webhook) -> None:
    hook.stall()
    watch.channel(hook.url, "stalls", "webhook")
    with webhook() as other:
        watch.channel(other.url, "answers", "webhook")
        alarm(watch, *(f"schedule-{at}" for at in range(12)))
        deliverer = watch.deliverer(replace(TERMS, timeout=timedelta(seconds=2)))
        assert deliverer.deliver() == 12
        assert len(other.received) == 12
    assert hook.tried == 1, "it is left alone for the rest of the round"
    (stalled,) = [one for one in watch.deliveries() if one.status == "failed"]
    assert stalled.error == "It did not answer within 2 seconds."
    hook.recover()
    wait_until(lambda: not deliverer._busy, "the stalled attempt to end")
    watch.later(minutes=1)
    assert deliverer.deliver() == 12
    assert {one.status for one in watch.deliveries()} == {"sent"}


def test_nothing_listens_is_one_clear_sentence_without_the_secret(watch: Watch) -> None:
    watch.channel("http://127.0.0.1:9/secret-token-of-ours", kind="webhook")
    alarm(watch)
    watch.deliverer().deliver()
    assert watch.delivery().error == "A Connection error occurred sending JSON notification to 127.0.0.1."


def test_several_deliverers_at_once_send_once(records: Records, hook: Webhook) -> None:
    watch = founded(records)
    watch.channel(hook.url, kind="webhook")
    alarm(watch, *(f"schedule-{at}" for at in range(15)))
    processes = [watch.deliverer() for _ in range(5)]
    arrived: list[int] = []
    threads = [threading.Thread(target=lambda one=one: arrived.append(one.deliver())) for one in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(arrived) == len(hook.received) == hook.tried == 15
    assert len({sent["title"] for sent in hook.received}) == 15


def test_what_a_dead_process_was_sending_is_sent_when_its_lease_ends(watch: Watch, hook: Webhook) -> None:
    watch.channel(hook.url, kind="webhook")
    alarm(watch)
    with watch.records.transaction() as session:
        assert claim(session, watch.now, TERMS) is not None
    assert watch.deliverer().deliver() == 0
    watch.later(seconds=TERMS.lease.total_seconds())
    assert watch.deliverer().deliver() == 1
    assert watch.delivery().attempts == 2


def test_processes_that_die_while_sending_use_up_the_attempts(watch: Watch, hook: Webhook) -> None:
    watch.channel(hook.url, kind="webhook")
    alarm(watch)
    for _ in range(TERMS.attempts):
        with watch.records.transaction() as session:
            assert claim(session, watch.now, TERMS) is not None
        watch.later(minutes=5)
    assert watch.deliverer().deliver() == 0
    assert (watch.delivery().status, watch.delivery().error) == ("dead", LOST)


def test_a_channel_that_fails_in_its_own_way_is_a_failed_attempt(watch: Watch, hook: Webhook) -> None:
    watch.channel(hook.url, kind="webhook")
    alarm(watch)

    def broken(address: str, title: str, body: str) -> None:
        raise ZeroDivisionError

    assert watch.deliverer(send=broken).deliver() == 0
    assert watch.delivery().error == "The channel failed in an unexpected way; the log says how."


def test_no_transaction_is_open_while_the_network_is_waited_for(watch: Watch, hook: Webhook) -> None:
    watch.channel(hook.url, kind="webhook")
    alarm(watch)
    written: list[str] = []

    def send(address: str, title: str, body: str) -> None:
        written.append(watch.happens("backup", "completed").id)

    assert watch.deliverer(send=send).deliver() == 1
    assert len(written) == 1


def test_a_rule_tells_its_own_channels_and_one_that_is_off_is_not_told(watch: Watch) -> None:
    one, two, off = (watch.channel(f"http://127.0.0.1:9/{at}", f"channel {at}", "webhook") for at in range(3))
    with watch.records.transaction() as session:
        alerts.switch_channel(session, watch.organization, off.id, watch.now, "alice", enabled=False)
    watch.rule("To one", FAILED, channels=(two.id, off.id))
    watch.rule("To all", FAILED)
    watch.happens("backup", "failed")
    watch.evaluate()
    told = {found.title: set() for found in watch.alerts()}  # type: dict[str, set[str]]
    titles = {found.id: found.title for found in watch.alerts()}
    for delivery in watch.deliveries():
        told[titles[delivery.alert]].add(delivery.channel)
    assert told == {"To one: nightly": {two.id}, "To all: nightly": {one.id, two.id}}


def test_what_waits_for_a_channel_that_is_switched_off_waits_on(watch: Watch, hook: Webhook) -> None:
    channel = watch.channel(hook.url, kind="webhook")
    alarm(watch)
    for enabled, arrived in ((False, 0), (True, 1)):
        with watch.records.transaction() as session:
            alerts.switch_channel(session, watch.organization, channel.id, watch.now, "alice", enabled=enabled)
        assert watch.deliverer().deliver() == arrived


def test_what_was_on_its_way_to_a_deleted_channel_is_a_dead_end(watch: Watch) -> None:
    channel = watch.channel("http://127.0.0.1:9/", kind="webhook")
    alarm(watch)
    with watch.records.transaction() as session:
        alerts.remove_channel(session, watch.organization, channel.id, watch.now, "alice")
    assert (watch.delivery().status, watch.delivery().channel_name) == ("dead", "ops")
    assert "deleted" in (watch.delivery().error or "")


def test_a_message_that_arrives_late_says_what_became_of_it(watch: Watch, hook: Webhook) -> None:
    watch.channel(hook.url, kind="webhook")
    alarm(watch)
    watch.act(alerts.resolve)
    watch.deliverer().deliver()
    assert hook.received[0]["message"].endswith("Resolved since, by alice.")


def test_a_test_message_says_whether_it_arrived(watch: Watch, hook: Webhook) -> None:
    channel = watch.channel(hook.url, kind="webhook")
    watch.deliverer().try_out(channel)
    assert "Nothing has happened" in hook.received[0]["message"]
    hook.status = 404
    with pytest.raises(Unavailable, match="404"):
        watch.deliverer().try_out(channel)


@pytest.mark.parametrize(
    ("kind", "address", "said"),
    [
        ("other", "file:///etc/passwd", "stays on this machine"),
        ("other", "syslog://", "stays on this machine"),
        ("other", "dbus://", "stays on this machine"),
        ("other", "nonsense", "no service is known"),
        ("other", "json://[broken", "no service is known"),
        ("webhook", "ftp://example.com", "no address of kind webhook"),
        ("webhook", "http://", "no service is known"),
        ("email", "https://example.com", "write it like mailtos://"),
        ("webhook", "https://example.com/?template=/etc/passwd", "would read a file"),
        ("slack", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops?template=file:///etc/passwd", "would read a file"),
        ("other", "fcm://project/token?keyfile=file:///etc/passwd", "would read a file"),
        ("pigeon", "json://example.com", "none of email, slack, webhook, other"),
        ("webhook", "", "1 to 2000"),
        ("webhook", "https://example.com/\n", "x"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(watch: Watch, kind: str, address: str, said: str) -> None:
    if address.endswith("\n"):  # what surrounds an address that was pasted is no part of it
        assert watch.channel(address, kind=kind).address == "jsons://example.com/"
        return
    with pytest.raises(Unprocessable, match=said):
        watch.channel(address, kind=kind)


@pytest.mark.parametrize(
    ("kind", "address", "hint"),
    [
        ("webhook", "https://hooks.example.com/services/secret", "jsons://hooks.example.com…"),
        ("email", "mailtos://user:password@mail.example.com?to=team@example.com", "mailtos://mail.example.com…"),
        ("slack", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops", "slack://…"),
    ],
)
def test_of_an_address_only_a_hint_is_shown(watch: Watch, kind: str, address: str, hint: str) -> None:
    assert watch.channel(address, kind=kind).hint == hint


def test_a_channels_name_is_taken_once(watch: Watch) -> None:
    watch.channel("http://127.0.0.1:9/", kind="webhook")
    with pytest.raises(Conflict):
        watch.channel("http://127.0.0.1:9/", kind="webhook")
