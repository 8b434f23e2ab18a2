"""Who may publish and hear what, as the servers enforce it.

    an engine    publishes to the log, effects and snapshots, reads their streams, answers clients; hears requests to
                 itself and reads of its region
    client, operator, source    publish writes of their own role, reads, questions for status; the operator also control
    admin        uses the whole interface of streams; hears the servers' advisories
    system       asks servers, in an account of its own, without the log; hears their events

Each hears its own inbox and no other's.

Only the admin can make, change, delete or purge a stream, with one exception: engines purge objects of the snapshot
bucket, which is how an object is deleted there. The bucket holds nothing that the log does not. What lives here: these
rights. What may not: passwords, and the form of the servers' files.
"""

from typing import NamedTuple

from holdfast.cluster.plan import Plan, Site

LOG_STREAM, LOG_SUBJECT = "HOLDFAST", "holdfast.log"
EFFECTS_STREAM, EFFECTS_SUBJECTS = "EFFECTS", "holdfast.effects.>"
SNAPSHOT_BUCKET = "SNAPSHOTS"
SNAPSHOT_STREAM = f"OBJ_{SNAPSHOT_BUCKET}"
WRITING_ROLES = ("client", "operator", "source")
"""Roles whose requests engines answer."""
READ_QUEUE = "readers"


class Rights(NamedTuple):
    """Subjects that a user may use; everything else is refused."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox_of(user: str) -> str:
    """Prefix of the subjects on which a user is answered."""
    return f"_INBOX.{user}"


def rights(plan: Plan) -> dict[str, Rights]:
    """The rights of every user of the log's account; those of `system` are in `system_rights`."""
    found = {site.engine: _engine(site) for site in plan.sites}
    found |= {role: _writer(role) for role in WRITING_ROLES}
    found["admin"] = Rights(
        ("$JS.API.>", "$JS.ACK.>", "$JS.FC.>"), (f"{inbox_of('admin')}.>", "$JS.EVENT.ADVISORY.>", "$JS.EVENT.METRIC.>")
    )
    return found


def system_rights() -> Rights:
    """The rights of the user of the system account: to ask servers, move leaders, drop a lost server."""
    return Rights(("$SYS.REQ.>", "$JS.API.>"), (f"{inbox_of('system')}.>", "$SYS.>"))


def _writer(role: str) -> Rights:
    publish = [f"holdfast.write.{role}.*", "holdfast.read.*", "holdfast.status.*"]
    if role == "operator":
        publish.append("holdfast.control.*")
    return Rights(tuple(publish), (f"{inbox_of(role)}.>",))


def _engine(site: Site) -> Rights:
    publish = [LOG_SUBJECT, EFFECTS_SUBJECTS, f"$O.{SNAPSHOT_BUCKET}.>", "$JS.API.INFO", "$JS.API.STREAM.NAMES"]
    for stream in (LOG_STREAM, EFFECTS_STREAM, SNAPSHOT_STREAM):
        publish += _reading(stream)
    publish += [f"$JS.API.STREAM.PURGE.{SNAPSHOT_STREAM}", "$JS.ACK.>", "$JS.FC.>"]
    publish += [f"{inbox_of(role)}.>" for role in WRITING_ROLES]
    subscribe = (
        f"holdfast.write.*.{site.engine}",
        f"holdfast.read.{site.region} {READ_QUEUE}",
        f"holdfast.status.{site.engine}",
        f"holdfast.control.{site.engine}",
        f"{inbox_of(site.engine)}.>",
    )
    return Rights(tuple(publish), subscribe)


def _reading(stream: str) -> list[str]:
    """What following and reading a stream takes: its state, ephemeral consumers, single messages."""
    interface = "$JS.API"
    return [
        f"{interface}.STREAM.INFO.{stream}",
        f"{interface}.STREAM.MSG.GET.{stream}",
        f"{interface}.DIRECT.GET.{stream}",
        f"{interface}.DIRECT.GET.{stream}.>",
        f"{interface}.CONSUMER.CREATE.{stream}",
        f"{interface}.CONSUMER.CREATE.{stream}.>",
        f"{interface}.CONSUMER.DELETE.{stream}.*",
        f"{interface}.CONSUMER.INFO.{stream}.*",
        f"{interface}.CONSUMER.MSG.NEXT.{stream}.*",
    ]
