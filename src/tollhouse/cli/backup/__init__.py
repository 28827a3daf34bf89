"""`tollhouse backup`: everything about a repository, without a running server.

The passphrase comes from TOLLHOUSE_BACKUP_PASSPHRASE, or the file that TOLLHOUSE_BACKUP_PASSPHRASE_FILE names; for the second
repository of a copy from TOLLHOUSE_BACKUP_COPY_PASSPHRASE, if it has another.
"""

import typer

from tollhouse.cli.backup import keeping, looking, restoring, taking
from tollhouse.cli.memory import in_one_arena

app = typer.Typer(name="backup", help="Back up directories, buckets and databases; restore, verify, drill.", no_args_is_help=True)


@app.callback()
def prepare() -> None:
    """Back up directories, buckets and databases; restore, verify, drill."""
    in_one_arena()


app.command()(taking.init)
app.command()(taking.full)
app.command()(taking.incremental)
app.command()(taking.metadata)
app.command("list")(looking.list_snapshots)
app.command("show")(looking.show_snapshot)
app.command()(looking.diff)
app.command()(keeping.verify)
app.command()(keeping.prune)
app.command()(keeping.copy)
app.command()(keeping.export)
app.command()(keeping.drill)
restore = typer.Typer(name="restore", help="Bring objects back from a snapshot.", no_args_is_help=True)
restore.command("full")(restoring.restore_full)
restore.command("metadata")(restoring.restore_metadata)
restore.command("data")(restoring.restore_data)
app.add_typer(restore)
