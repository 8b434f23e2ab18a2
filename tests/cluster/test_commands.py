"""`holdfast cluster` and `holdfast replica` as people type them."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from holdfast.cli import cluster as commands
from holdfast.cli.main import app
from holdfast.cluster import errors, genesis
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import ROLES, read_plan
from holdfast.domain.signatures import public_key_of
from holdfast.log.errors import LogError
from holdfast.replica.configuration import read_configuration


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.criterion("CLU-25")
def test_exit_statuses_are_these():
    expected = {
        "ClusterError": 30,
        "StartError": 31,
        "NotReadyError": 32,
        "NotRunningError": 33,
        "BusyError": 34,
        "UnhealthyError": 35,
        "ForeignError": 36,
    }
    found = {name: kind.exit_code for name, kind in vars(errors).items() if hasattr(kind, "exit_code")}
    assert found == expected
    assert not {kind.exit_code for kind in LogError.__subclasses__()} & set(expected.values())


@pytest.mark.criterion("CLU-24")
def test_status_of_a_running_cluster(three):
    done = run("cluster", "status", "--folder", three.folder)
    assert done.exit_code == 0, done.stderr
    for site in three.plan.sites:
        assert site.server in done.stdout
        assert site.engine in done.stdout
    shown = json.loads(run("cluster", "status", "--folder", three.folder, "--json").stdout)
    assert shown["healthy"] is True
    assert [row["name"] for row in shown["servers"]] == [site.server for site in three.plan.sites]
    assert {"position", "lag", "time", "degraded", "version", "alive"} <= set(shown["engines"][0])


@pytest.mark.criterion("CLU-24", "CLU-23", "CLU-20")
def test_status_and_down_of_a_cluster_that_does_not_run(tmp_path):
    make_cluster(tmp_path / "c", ("a",))
    done = run("cluster", "status", "--folder", tmp_path / "c")
    assert done.exit_code == 1
    assert "dead" in done.stdout
    assert "no server runs" in done.stderr
    assert json.loads(run("cluster", "down", "--folder", tmp_path / "c", "--json").stdout) == {"killed": []}


@pytest.mark.criterion("CLU-20", "CLU-22")
def test_up_makes_starts_and_shows(tmp_path, monkeypatch, stand_in):
    sent = []

    async def send(_configuration, first):
        sent.extend(first)

    def made(folder, regions, *, witness):
        assert witness
        return make_cluster(folder, regions, programs=stand_in)

    monkeypatch.setattr(genesis, "_through_client", send)
    monkeypatch.setattr("holdfast.cluster.files.make_cluster", made)
    monkeypatch.setattr(commands, "is_compiled", lambda: True)
    folder = tmp_path / "c"
    try:
        done = run("cluster", "up", "--folder", folder, "--regions", "paris", "--json")
        assert done.exit_code == 0, done.stderr
        shown = json.loads(done.stdout)
        assert shown["started"] == ["nats-paris", "engine-paris"]
        assert shown["status"]["healthy"] is True
        assert len(sent) == 2
        again = run("cluster", "up", "--folder", folder)
        assert again.exit_code == 0, again.stderr
        assert "everything ran" in again.stderr
        assert "engine-paris" in again.stdout
        killed = json.loads(run("cluster", "kill", "nats-paris", "--folder", folder, "--json").stdout)
        assert killed == {"name": "nats-paris", "pid": shown["status"]["servers"][0]["pid"], "signal": "SIGKILL"}
    finally:
        assert run("cluster", "down", "--folder", folder).exit_code == 0


@pytest.mark.criterion("CLU-22", "CLU-25")
def test_what_cannot_be_killed(tmp_path):
    make_cluster(tmp_path / "c", ("a",))
    for words, status, said in (
        (("kill", "nats-a"), 33, "does not run"),
        (("kill", "engine-a", "--signal", "TERM"), 33, "does not run"),
        (("kill", "nats-b"), 2, "use one of nats-a, engine-a"),
        (("kill", "nats-a", "--signal", "HUP"), 2, "KILL, STOP, CONT, TERM"),
        (("restart", "nats-b"), 2, "use one of nats-a, engine-a"),
        (("down", "x"), 2, "use one of nats-a, engine-a"),
        (("up", "--regions", "a,b,c"), 2, "this cluster has a"),
    ):
        done = run("cluster", *words, "--folder", tmp_path / "c")
        assert done.exit_code == status, done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.criterion("CLU-1", "CLU-25")
@pytest.mark.parametrize("words", [("status",), ("down",), ("kill", "x"), ("restart",), ("files",)])
def test_a_folder_without_a_cluster(tmp_path, words):
    done = run("cluster", *words, "--folder", tmp_path)
    assert done.exit_code == 2
    assert "cluster.toml: is not in the folder" in done.stderr


@pytest.mark.criterion("CLU-1")
def test_up_with_regions_that_make_no_cluster(tmp_path):
    done = run("cluster", "up", "--folder", tmp_path / "c", "--regions", "a,b")
    assert done.exit_code == 2
    assert "wrong number of regions" in done.stderr


@pytest.mark.criterion("CLU-6")
def test_files_for_machines(tmp_path):
    folder = tmp_path / "all"
    hosts = "a=10.0.0.1, b=10.0.0.2, c=log.example.org"
    done = run("cluster", "files", "--folder", folder, "--hosts", hosts)
    assert done.exit_code == 0, done.stderr
    assert f"copy {folder}/machines/b to 10.0.0.2" in done.stdout
    assert [site.host for site in read_plan(folder).sites] == ["10.0.0.1", "10.0.0.2", "log.example.org"]
    assert len(list((folder / "machines" / "c" / "clients").iterdir())) == len(ROLES) + 1
    path = folder / "cluster.toml"
    path.write_text(path.read_text().replace("10.0.0.2", "10.0.0.9"))
    again = json.loads(run("cluster", "files", "--folder", folder, "--json").stdout)
    assert str(folder / "machines" / "a" / "servers" / "nats-a" / "server.conf") in again["written"]
    assert again["copy"]["10.0.0.9"] == str(folder / "machines" / "b")
    assert run("cluster", "files", "--folder", folder, "--json").stdout.count("machines/") == 3
    refused = run("cluster", "files", "--folder", folder, "--hosts", hosts)
    assert (refused.exit_code, "is for a new cluster" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("a,b,c", "write it like"),
        ("a=1,a=2,b=3", "give each region once"),
        ("a=x y,b=10.0.0.2,c=10.0.0.3", "host name"),
        ("a=10.0.0.1,b=10.0.0.2", "wrong number of regions"),
    ],
)
def test_hosts_that_cannot_be(tmp_path, hosts, said):
    done = run("cluster", "files", "--folder", tmp_path / "c", "--hosts", hosts)
    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.criterion("CLU-5")
def test_the_key_of_a_replica(tmp_path):
    plan = make_cluster(tmp_path / "c", ("a",))
    folder = Layout(tmp_path / "c").engine(plan.sites[0])
    done = run("replica", "key", folder / "engine.toml")
    assert (done.exit_code, done.stdout, done.stderr) == (0, plan.sites[0].public_key + "\n", "")
    (folder / "replica.key").unlink()
    other = run("replica", "key", folder / "engine.toml")
    assert other.exit_code == 0
    assert other.stdout.strip() == public_key_of((folder / "replica.key").read_bytes()).hex()
    assert "names another key" in other.stderr


@pytest.mark.criterion("CLU-3", "CLU-16")
def test_a_replica_with_a_wrong_file_is_not_run(tmp_path):
    plan = make_cluster(tmp_path / "c", ("a",))
    path = Layout(tmp_path / "c").engine(plan.sites[0]) / "engine.toml"
    assert read_configuration(path).name == "engine-a"
    path.write_text(path.read_text().replace("region", "place", 1))
    for word in ("run", "supervise", "key"):
        done = run("replica", word, path)
        assert done.exit_code == 2
        assert "engine.toml.place: means nothing" in done.stderr
    missing = run("replica", "run", tmp_path / "none.toml")
    assert (missing.exit_code, "No such file" in missing.stderr) == (2, True)


def test_a_library_without_nats_says_what_to_install(tmp_path):
    program = """
import sys
sys.modules["nats"] = None
from typer.testing import CliRunner
from holdfast.cli.main import app
done = CliRunner().invoke(app, ["cluster", "status", "--folder", sys.argv[1]])
print(done.exit_code, done.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("2 error: a cluster needs nats-py: pip install 'holdfast[cluster]'")
