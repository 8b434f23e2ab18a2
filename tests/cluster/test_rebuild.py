"""The servers' log made anew from an engine's copy."""

import asyncio
import contextlib
import json

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.cluster.connections import connected
from holdfast.cluster.errors import UnhealthyError
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.rebuild import Compared, compared, contradicting_copies, rebuild
from holdfast.domain.errors import InputError
from holdfast.log.jetstream.log import JetStreamLog
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.configuration import read_configuration

FRAMES = [f"frame {number}".encode() for number in range(40)]


def write_copy(place: Layout, site, frames) -> None:
    place.engine(site).mkdir(parents=True, exist_ok=True)
    with SqliteLog(place.engine(site) / "log.sqlite") as copy:
        copy.append_group(frames)


def of_servers(cluster) -> list[bytes]:
    access = read_configuration(cluster.place.engine(cluster.plan.sites[0]) / "engine.toml").log.access()
    with JetStreamLog(access, name="test") as log:
        return [frame for _, frame in log.read(0)]


def append(cluster, frames) -> None:
    access = read_configuration(cluster.place.engine(cluster.plan.sites[0]) / "engine.toml").log.access()
    with JetStreamLog(access, name="test") as log:
        for frame in frames:
            log.append(frame)


@pytest.mark.criterion("CLU-26")
def test_what_the_servers_forgot_comes_back_from_a_copy(alone):
    """The servers have 3 frames, of them one that the copy does not have; the copy has 40."""
    site = alone.plan.sites[0]
    append(alone, [*FRAMES[:2], b"another"])
    write_copy(alone.place, site, FRAMES)
    with pytest.raises(UnhealthyError, match="engine-amsterdam: runs"):
        asyncio.run(rebuild(alone.folder, site.engine))
    assert of_servers(alone) == [*FRAMES[:2], b"another"]
    alone.down(site.engine)
    shown = CliRunner().invoke(app, ["cluster", "rebuild", site.engine, "--folder", str(alone.folder), "--json"])
    assert shown.exit_code == 0, shown.stderr
    done = json.loads(shown.stdout)
    assert (done["frames"], done["contradicting"]) == (40, [])
    assert of_servers(alone) == FRAMES
    with SqliteLog(done["kept"], writable=False) as kept:
        assert [frame for _, frame in kept.read(0)] == [*FRAMES[:2], b"another"]
    # Again, and where there is no stream at all.
    asyncio.run(_delete(alone))
    again = asyncio.run(rebuild(alone.folder, site.engine))
    assert (again.frames, again.kept) == (40, "")
    assert of_servers(alone) == FRAMES


async def _delete(cluster) -> None:
    async with connected(cluster.place, "admin") as admin:
        await admin.request("$JS.API.STREAM.DELETE.HOLDFAST", b"", timeout=5)


@pytest.mark.criterion("CLU-26")
def test_copies_are_compared(tmp_path):
    plan, place = make_cluster(tmp_path / "c", ("a", "b", "c")), Layout(tmp_path / "c")
    first, second, third = plan.sites
    write_copy(place, first, FRAMES[:10])
    assert compared(place, plan, first) == []
    for other, common in (
        (FRAMES[:10], 10),
        (FRAMES[:7], 7),
        (FRAMES, 10),
        ([*FRAMES[:6], b"x", b"y"], 6),
        ([b"x"], 0),
    ):
        with contextlib.suppress(FileNotFoundError):
            for path in place.engine(second).glob("log.sqlite*"):
                path.unlink()
        write_copy(place, second, other)
        assert compared(place, plan, first) == [Compared(second.engine, len(other), common)]
    write_copy(place, third, FRAMES[:3])
    assert compared(place, plan, first)[1] == Compared(third.engine, 3, 3)


@pytest.mark.criterion("CLU-26")
@pytest.mark.parametrize("other", [FRAMES[:5], [*FRAMES[:2], b"x"]])
def test_frames_that_another_copy_has_are_not_lost_unasked(tmp_path, other):
    plan, place = make_cluster(tmp_path / "c", ("a", "b", "c")), Layout(tmp_path / "c")
    write_copy(place, plan.sites[0], FRAMES[:4])
    write_copy(place, plan.sites[1], other)
    write_copy(place, plan.sites[2], FRAMES[:3])
    with pytest.raises(UnhealthyError, match=f"engine-b holds {len(other)} frames"):
        contradicting_copies(place, plan, plan.sites[0], even_if_lost=False)
    assert contradicting_copies(place, plan, plan.sites[0], even_if_lost=True) == ("engine-b",)
    if len(other) == 5:
        assert contradicting_copies(place, plan, plan.sites[1], even_if_lost=False) == ()


@pytest.mark.criterion("CLU-26")
def test_an_engine_without_a_copy(tmp_path):
    make_cluster(tmp_path / "c", ("amsterdam",))
    for name in ("engine-amsterdam", "engine-x", "nats-amsterdam"):
        with pytest.raises(InputError, match="has no copy here"):
            asyncio.run(rebuild(tmp_path / "c", name))
