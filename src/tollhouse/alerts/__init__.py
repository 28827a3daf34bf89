"""Alerts: one engine for everything that ought to be noticed.

Domains write journal rows and know nothing of this one. A `Rule` is a row with a typed condition; `evaluate` reads the
journal on and raises an `Alert` once per rule, subject and period; a `Deliverer` brings it to the channels, as often as it
takes, or to a dead end that everybody can see.
"""

from tollhouse.alerts import channels
from tollhouse.alerts.alert import (
    STATUSES,
    Alert,
    acknowledge,
    count_by_status,
    count_dead,
    count_open,
    find,
    list_alerts,
    resolve,
    snooze,
)
from tollhouse.alerts.channel import (
    KINDS,
    Channel,
    NewChannel,
    add_channel,
    find_channel,
    list_channels,
    switch_channel,
)
from tollhouse.alerts.condition import Condition, Counted, Happened, Missing, Where, as_json
from tollhouse.alerts.deliverer import Deliverer
from tollhouse.alerts.delivery import Delivery, DeliveryTerms, deliveries_of, remove_channel, retry
from tollhouse.alerts.evaluation import evaluate
from tollhouse.alerts.preset import lay_rules
from tollhouse.alerts.rule import SEVERITIES, NewRule, Rule, add_rule, change_rule, find_rule, list_rules, remove_rule

__all__ = [
    "KINDS",
    "SEVERITIES",
    "STATUSES",
    "Alert",
    "Channel",
    "Condition",
    "Counted",
    "Deliverer",
    "Delivery",
    "DeliveryTerms",
    "Happened",
    "Missing",
    "NewChannel",
    "NewRule",
    "Rule",
    "Where",
    "acknowledge",
    "add_channel",
    "add_rule",
    "as_json",
    "change_rule",
    "channels",
    "count_by_status",
    "count_dead",
    "count_open",
    "deliveries_of",
    "evaluate",
    "find",
    "find_channel",
    "find_rule",
    "lay_rules",
    "list_alerts",
    "list_channels",
    "list_rules",
    "remove_channel",
    "remove_rule",
    "resolve",
    "retry",
    "snooze",
    "switch_channel",
]
