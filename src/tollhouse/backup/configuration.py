"""The settings of a bucket in a snapshot: put back when that was asked for, shown, and compared with another snapshot's.

As with objects, what differs is kept unless it may be overwritten. What was not set when the snapshot was taken stays as it is now, as
objects do that were added since.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tollhouse.backup.snapshot import Collection
from tollhouse.backup.sources import Target
from tollhouse.kit.errors import BadInput, NotFound, TollhouseError

if TYPE_CHECKING:
    from tollhouse.backup.sources.bucket_settings import Difference

# `left` was not asked for; `unable` is what the target's server does not know or does not tell.
SettingAction = Literal["create", "overwrite", "identical", "keep", "left", "unable"]


def find_bucket(target: Target, collections: Sequence[Collection], make: bool, dry_run: bool) -> bool:
    """Whether the target is there already; makes a bucket that is not, if told to.

    Raises NotFound where it was not told to, and BadInput where it was and there are no settings, or no place for them.
    """
    settings = target.settings()
    if make and (settings is None or not _of_a_bucket(collections)):
        raise BadInput("Settings are those of buckets: the snapshot's source and the target have both to be one on S3.")
    if settings is None:
        return True
    with settings as api:
        if api.exists():
            return True
        if not make:
            raise NotFound(f"There is no bucket {api.bucket}; make it, or say --configuration to have it made with its settings.")
        if not dry_run:
            api.create(lockable="object lock" in _settings_of(collections))
    return False


def put_back(
    target: Target, collections: Sequence[Collection], told: bool, overwrite: bool, dry_run: bool, missing: bool
) -> tuple[dict[str, SettingAction], list[dict[str, str]]]:
    """What is done about each setting of the snapshot, and what could not be; a `missing` bucket was made, but in a dry run."""
    wanted = _settings_of(collections)
    settings = target.settings()
    if settings is None or not _of_a_bucket(collections):
        return {}, []
    actions: dict[str, SettingAction] = {}
    errors: list[dict[str, str]] = []
    from tollhouse.backup.sources import bucket_settings  # noqa: PLC0415  # it brings an HTTP client

    with settings as api:
        differences: dict[str, Difference] = dict.fromkeys(wanted, "create")
        if not (missing and dry_run):
            differences = bucket_settings.compare(api, wanted)
        for name, difference in differences.items():
            # What a new bucket has of its own is nobody's choice.
            actions[name] = _action(difference, told, overwrite or missing)
            why = {"keep": "another is there; say --overwrite to replace it", "unable": "the server does not know it, or does not tell it"}
            if told and actions[name] in why:
                errors.append({"key": f"setting {name}", "reason": why[actions[name]]})
            if dry_run or actions[name] not in ("create", "overwrite"):
                continue
            try:
                bucket_settings.put(api, name, wanted[name])
            except TollhouseError as error:
                errors.append({"key": f"setting {name}", "reason": error.detail})
    return actions, errors


def settings_shown(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A bucket's settings for people, name and value; nothing for what is no bucket."""
    if "settings" not in configuration:
        return []
    from tollhouse.backup.sources import bucket_settings  # noqa: PLC0415  # it brings an HTTP client

    shown = [(name, bucket_settings.said(value)) for name, value in configuration["settings"].items()]
    shown += [("not set", ", ".join(configuration.get("unset", ())))]
    shown += [("not known to the server", ", ".join(configuration.get("unknown", ())))]
    shown += [(f"NOT READ: {name}", reason) for name, reason in configuration.get("unreadable", {}).items()]
    return [(name, value) for name, value in shown if value]


def settings_changed(older: Sequence[Collection], newer: Sequence[Collection]) -> list[tuple[str, str, str]]:
    """What became of the settings of sources that are in both: change, source, and the name of the setting."""
    before = {one.address: one.configuration for one in older}
    found = []
    for one in newer:
        if one.address not in before:
            continue
        was, now = _parts(before[one.address]), _parts(one.configuration)
        untold = {*_untold(before[one.address]), *_untold(one.configuration)}
        names = sorted(name for name in {*was, *now} - untold if was.get(name) != now.get(name))
        found += [("added" if name not in was else "removed" if name not in now else "changed", one.address, name) for name in names]
    return found


def _action(difference: "Difference", told: bool, overwrite: bool) -> SettingAction:
    if difference == "identical":
        return "identical"
    if not told:
        return "left"
    return "keep" if difference == "overwrite" and not overwrite else difference


def _of_a_bucket(collections: Sequence[Collection]) -> bool:
    return any("settings" in one.configuration for one in collections)


def _settings_of(collections: Sequence[Collection]) -> dict[str, str]:
    return {name: value for one in collections for name, value in one.configuration.get("settings", {}).items()}


def _parts(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What can differ by itself: each setting of a bucket, or each document about a database."""
    return dict(configuration.get("settings", configuration))


def _untold(configuration: Mapping[str, Any]) -> set[str]:
    """What is not known to have changed, because the server did not tell it."""
    return {*configuration.get("unreadable", ()), *configuration.get("unknown", ())} if "settings" in configuration else set()
