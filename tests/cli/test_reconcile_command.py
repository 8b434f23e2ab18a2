"""`holdfast reconcile` as people use it: on an engine's folder, and on a cluster of which something is wrong."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from cli.fake_cluster import Cluster, client_file
from holdfast.cli import reconcile_cluster
from holdfast.cli.main import app
from holdfast.margin.presets import preset
from holdfast.replica.engine import Engine
from holdfast.validate.reconcile.run import FOUND, PASSED

WRONG_INPUT = 2


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["reconcile", *(str(a) for a in arguments)], env={"COLUMNS": "80"})


def answer(*arguments: object) -> dict[str, Any]:
    """The JSON of a look that worked, whatever it found."""
    result = run(*arguments, "--json")
    assert result.exit_code in (PASSED, FOUND), result.output
    found: dict[str, Any] = json.loads(result.stdout, parse_constant=pytest.fail)
    assert found["status"] == result.exit_code
    return found


def assert_refused(result: Result, *words: str) -> None:
    assert result.exit_code == WRONG_INPUT, result.output
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def file(folder: Path, text: object, name: str = "statement.csv") -> Path:
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def breaks(found: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    return {(one["account"], one["item"], one["what"]): one["code"] for one in found["breaks"]}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The venue of the page's worked numbers: a trade at position 22, funding, a deposit, a withdrawal."""
    folder = tmp_path_factory.mktemp("venue")
    with Engine(folder) as engine:
        for name in ("USD", "USDC", "BTC", "ETH"):
            assert engine.define_asset(name)
        for name in ("BTC-PERPETUAL", "BTC-27MAR20"):
            assert engine.define_instrument(name, fee="0.0005")
        assert engine.define_model("portfolio")
        for name in ("alice", "bob", "carol"):
            assert engine.open_account(name)
        assert engine.tick("2020-03-12T10:00:00Z")
        assert engine.post_prices({"BTC": 7900, "BTC-PERPETUAL": 7895, "BTC-27MAR20": 7910, "USDC": 1})
        for name in ("alice", "bob", "carol"):
            assert engine.deposit(name, "BTC", 10)
        assert engine.position == 22
        assert engine.trade("alice", "bob", "BTC-PERPETUAL", 1000, 7895)
        assert engine.order("bob", "BTC-27MAR20", 100, 7900)
        assert engine.funding("BTC-PERPETUAL", "0.0001")
        assert engine.deposit("alice", "BTC", 1)
        assert engine.withdraw("bob", "BTC", 2)
        assert engine.tick("2020-03-12T10:00:30Z")
    return folder


SOUND = """account,item,quantity,cost
alice,BTC,10.99992399,
alice,BTC-PERPETUAL,1000,-0.12666244
bob,BTC,7.99994932,
bob,BTC-PERPETUAL,-1000,0.12666244
carol,BTC,10,
"""


@pytest.mark.criterion("REC-14", "REC-3")
def test_an_engine_alone_is_sound(venue: Path) -> None:
    result = run(venue)
    assert result.exit_code == PASSED, result.output
    assert "position 28, 2020-03-12T10:00:30Z, price id 3" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()[1:]) <= 80
    found = answer(venue)
    assert [(one["name"], one["findings"]) for one in found["checks"]] == [
        ("ledger", 0),
        ("replica", 0),
        ("feed", 0),
        ("parameter", 0),
    ]


@pytest.mark.criterion("REC-5", "REC-8")
def test_a_right_statement_is_no_break_and_each_unit_counts(venue: Path, tmp_path: Path) -> None:
    path = file(tmp_path, SOUND)
    found = answer(venue, "--statement", path, "--complete")
    assert found["breaks"] == []
    for old, new in (
        ("10.99992399", "10.999924"),
        ("-0.12666244", "-0.12666245"),
        ("-1000", "-1010"),
        ("carol,BTC,10", "carol,BTC,10.00000001"),
    ):
        changed = file(tmp_path, SOUND.replace(old, new, 1), "changed.csv")
        assert len(answer(venue, "--statement", changed)["breaks"]) == 1


@pytest.mark.criterion("REC-10")
@pytest.mark.parametrize(
    ("old", "new", "line", "code"),
    [
        ("alice,BTC,10.99992399", "alice,BTC,10.99998733", ("alice", "BTC", "balance"), "fees"),
        ("alice,BTC,10.99992399", "alice,BTC,10.99993666", ("alice", "BTC", "balance"), "funding"),
        ("alice,BTC,10.99992399", "alice,BTC,11", ("alice", "BTC", "balance"), "fees-and-funding"),
        ("alice,BTC,10.99992399", "alice,BTC,9.99992399", ("alice", "BTC", "balance"), "earlier-deposit"),
        ("alice,BTC,10.99992399", "alice,BTC,1099992399", ("alice", "BTC", "balance"), "scale"),
        ("PERPETUAL,1000", "PERPETUAL,100", ("alice", "BTC-PERPETUAL", "position"), "lot-size"),
        ("PERPETUAL,1000", "PERPETUAL,0", ("alice", "BTC-PERPETUAL", "position"), "earlier-trade"),
        ("PERPETUAL,-1000", "PERPETUAL,1000", ("bob", "BTC-PERPETUAL", "position"), "sign-flipped"),
        ("bob,BTC,7.99994932", "bob,BTC,9.99994932", ("bob", "BTC", "balance"), "withdrawal"),
        ("carol,BTC,10", "fees,BTC,0", ("fees", "BTC", "balance"), "earlier"),
        ("carol,BTC,10", "carol,BTC,10.5", ("carol", "BTC", "balance"), ""),
        ("carol,BTC,10", "zoe,BTC,1", ("zoe", "BTC", "balance"), "unknown-account"),
        ("carol,BTC,10", "carol,FOO-BAR,1", ("carol", "FOO-BAR", "position"), "unknown-item"),
    ],
)
def test_breaks_are_explained(
    venue: Path, tmp_path: Path, old: str, new: str, line: tuple[str, str, str], code: str
) -> None:
    found = breaks(answer(venue, "--statement", file(tmp_path, SOUND.replace(old, new))))
    assert found[line] == code


@pytest.mark.criterion("REC-6")
def test_statements_are_compared_at_their_own_position_or_time(venue: Path, tmp_path: Path) -> None:
    before = {"alice": {"balances": {"BTC": 10}, "positions": []}}
    after = {
        "alice": {"balances": {"BTC": "9.99993666"}, "positions": [{"instrument": "BTC-PERPETUAL", "quantity": 1000}]}
    }
    for position, accounts in ((21, before), (22, after), (23, after)):
        path = file(tmp_path, {"position": position, "accounts": accounts}, "own.json")
        assert answer(venue, "--statement", path)["breaks"] == [], position
    path = file(tmp_path, {"position": 22, "accounts": before}, "own.json")
    found = answer(venue, "--statement", path)
    assert set(breaks(found).values()) == {"earlier-trade"}
    assert {one["position"] for one in found["breaks"]} == {22}
    # All of it happened at 10:00:00; half a second later nothing had changed.
    whole = {"alice": {"balances": {"BTC": "10.99992399"}, "positions": after["alice"]["positions"]}}
    path = file(tmp_path, {"time": "2020-03-12T10:00:00.5Z", "accounts": whole}, "own.json")
    assert answer(venue, "--statement", path)["breaks"] == []
    path = file(tmp_path, {"time": "2020-03-12T10:05:00Z", "accounts": whole}, "own.json")
    assert any("270.000 s after" in text for text in answer(venue, "--statement", path)["notes"])


@pytest.mark.criterion("REC-7")
def test_a_deribit_shaped_account(venue: Path, tmp_path: Path) -> None:
    row = {"instrument_name": "BTC-PERPETUAL", "size": 1000, "direction": "buy", "average_price": 7895}
    # At 7,900 the position is worth −1,000 / 7,900 BTC, which is 0.0000802... more than its cost.
    row |= {"mark_price": 7900.0, "floating_profit_loss": round(1000 / 7895 - 1000 / 7900, 8)}
    positions = file(tmp_path, {"result": [row], "usOut": 1584007230000000}, "positions.json")
    summary = {"currency": "BTC", "balance": 10.99992399, "equity": 11.0}
    summaries = file(tmp_path, {"result": {"summaries": [summary]}}, "summaries.json")
    both = ("--statement", positions, "--statement", summaries, "--account", "alice")
    assert answer(venue, *both)["breaks"] == []
    summaries.write_text(json.dumps({"result": {"summaries": [summary | {"balance": 10.99992}]}}))
    assert breaks(answer(venue, *both)) == {("alice", "BTC", "net balance"): ""}
    assert_refused(run(venue, "--statement", summaries, "--account", "alice"), "get_positions")


@pytest.mark.criterion("REC-9")
def test_ages_are_kept_between_runs(venue: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    path = file(tmp_path, SOUND.replace("carol,BTC,10", "carol,BTC,11"))
    (one,) = answer(venue, "--statement", path, "--state", state)["breaks"]
    assert (one["first_position"], one["first_time"]) == (28, 1584007230 * 10**9)
    kept = json.loads(state.read_text())
    key = next(iter(kept["first"]))
    kept["first"][key] = {"position": 5, "time": 1584007230 * 10**9 - 90 * 10**9}
    state.write_text(json.dumps(kept))
    (one,) = answer(venue, "--statement", path, "--state", state)["breaks"]
    assert one["first_position"] == 5
    assert "since 5: 23 frames, 2 min" in run(venue, "--statement", path, "--state", state).stdout
    state.write_text(json.dumps(kept | {"log": "00"}))
    assert_refused(run(venue, "--state", state), "another log")
    state.write_text(json.dumps(kept | {"position": 10**6}))
    assert_refused(run(venue, "--state", state), "ahead")


@pytest.mark.criterion("REC-2")
def test_a_snapshot_is_begun_with_only_where_it_is_early_enough(tmp_path: Path) -> None:
    with Engine(tmp_path / "venue") as engine:
        assert engine.define_asset("BTC")
        assert engine.define_asset("USD")
        assert engine.define_model("portfolio")
        assert engine.open_account("alice")
        assert engine.tick("2020-03-12T10:00:00Z")
        assert engine.post_prices({"BTC": 7900})
        assert engine.deposit("alice", "BTC", 1)
        early = engine.position - 1
        assert engine.deposit("alice", "BTC", 1)
        engine.snapshot()
        last = engine.position - 1
        assert engine.deposit("alice", "BTC", 1)
    for position, amount in ((early, 1), (last, 2), (last + 1, 3)):
        given = {"position": position, "accounts": {"alice": {"balances": {"BTC": amount}}}}
        path = file(tmp_path, given, "own.json")
        for option in ((), ("--from-snapshot",)):
            assert answer(tmp_path / "venue", "--statement", path, *option)["breaks"] == []
    # What was before the snapshot explains nothing where folding began with it.
    given = {"position": last + 1, "accounts": {"alice": {"balances": {"BTC": 1}}}}
    path = file(tmp_path, given, "own.json")
    assert set(breaks(answer(tmp_path / "venue", "--statement", path)).values()) == {"earlier-deposit"}
    found = breaks(answer(tmp_path / "venue", "--statement", path, "--from-snapshot"))
    assert set(found.values()) == {""}


@pytest.mark.criterion("REC-13")
def test_a_wrong_parameter_against_the_approved_file(venue: Path, tmp_path: Path) -> None:
    approved = preset("portfolio")
    path = tmp_path / "approved.json"
    path.write_bytes(msgspec.json.encode(approved))
    assert answer(venue, "--parameters", path)["alarms"] == []
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(approved, initial_factor=1.5)))
    (alarm,) = answer(venue, "--parameters", path)["alarms"]
    assert (alarm["label"], alarm["code"]) == ("parameter", "not-approved")
    assert alarm["fields"] == [{"field": "initial_factor", "found": 1.2, "expected": 1.5}]
    result = run(venue, "--parameters", path)
    assert result.exit_code == FOUND
    assert "PARAMETER ALARM not-approved" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), ("nowhere", "log.sqlite")),
        (("{venue}", "--statement", "nowhere.csv"), ("nowhere.csv",)),
        (("{venue}", "--account", "alice"), ("--statement",)),
        (("{venue}", "--complete"), ("--statement",)),
        (("{venue}", "--every", "0"), ("--every", "0.1")),
        (("{venue}", "--every", "nan"), ("--every",)),
        (("{venue}", "--tolerance", "BTC"), ("BTC=0.0001",)),
        (("{venue}", "--tolerance", "BTC=-1"), ("0 or more",)),
        (("{venue}", "--tolerance", "BTC=x"), ("--tolerance BTC",)),
        (("{venue}", "--parameters", "nowhere.json"), ("nowhere.json",)),
    ],
)
@pytest.mark.criterion("REC-14")
def test_wrong_input_is_one_line_and_status_2(venue: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run(*(one.format(venue=venue) for one in arguments)), *words)


def test_the_folder_is_read_beside_the_engine_that_writes_it(tmp_path: Path) -> None:
    with Engine(tmp_path) as engine:
        assert engine.define_asset("BTC")
        before = sorted(tmp_path.rglob("*"))
        assert answer(tmp_path)["position"] == engine.position - 1
        assert engine.define_asset("ETH")
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.criterion("REC-14")
def test_every_so_often_only_what_changed_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = file(tmp_path, "account,item,quantity\nalice,BTC,5\n")
    with Engine(tmp_path / "venue") as engine:
        for name in ("BTC", "USD"):
            assert engine.define_asset(name)
        assert engine.define_model("portfolio")
        assert engine.open_account("alice")
        assert engine.tick("2020-03-12T10:00:00Z")
        assert engine.post_prices({"BTC": 7900})
        assert engine.deposit("alice", "BTC", 1)
        looks = 0

        def between(_seconds: float) -> None:
            nonlocal looks
            looks += 1
            if looks == 2:
                assert engine.deposit("alice", "BTC", 1)
            if looks == 3:
                statement.write_text("nonsense")
            if looks == 4:
                statement.write_text("account,item,quantity\nalice,BTC,2\n")
            if looks == 5:
                raise KeyboardInterrupt

        monkeypatch.setattr("time.sleep", between)
        result = run(tmp_path / "venue", "--statement", statement, "--every", 1)
        shown = result.stdout.splitlines()
        changes = [line for line in shown if line[:1] in "+~−" and line]
        assert [line[0] for line in changes] == ["~", "−"]
        assert "ours 2, theirs 5, $23,700.00; unexplained" in changes[0]
        assert "the last statements stand" in result.stderr
        assert result.exit_code == 130
        looks = 3
        assert run(tmp_path / "venue", "--statement", statement, "--every", 1, "--json").stdout.count("\n") == 2


@pytest.fixture(scope="module")
def whole_cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def cluster(whole_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    whole_cluster.dead.clear()
    whole_cluster.forge = lambda _name, _what, _content: None
    monkeypatch.setattr(reconcile_cluster, "connect", whole_cluster.connect)
    return whole_cluster


STATED = """account,item,quantity
alice,BTC,9.99993666
alice,BTC-PERPETUAL,1000
bob,BTC,9.99993666
bob,BTC-PERPETUAL,-1000
"""


@pytest.mark.criterion("REC-1", "REC-14")
def test_a_sound_cluster(cluster: Cluster, tmp_path: Path) -> None:
    path = client_file(tmp_path)
    found = answer(path, "--statement", file(tmp_path, STATED), "--complete")
    assert found["status"] == PASSED, found
    assert {(one["name"], one["verdict"]) for one in found["replicas"]} == {(n, "agrees") for n in ("r0", "r1", "r2")}
    assert found["answered_by"] == "r0"
    result = run(path)
    assert result.exit_code == PASSED
    assert result.stdout.count("agrees") == 3
    # The folder of a cluster stands for its client's file.
    (tmp_path / "clients").mkdir()
    client_file(tmp_path / "clients")
    assert answer(tmp_path)["source"].endswith("client.toml")
    assert_refused(run(path, "--from-snapshot"), "no meaning")


@pytest.mark.criterion("REC-11")
def test_a_wrong_replica_is_named(cluster: Cluster, tmp_path: Path) -> None:
    def forge(name: str, what: str, content: dict[str, Any]) -> None:
        if (name, what) == ("r2", "root"):
            content["checkpoints"][-1][2] = "ab" * 32

    cluster.forge = forge
    found = answer(client_file(tmp_path))
    assert {(one["label"], one["subject"]) for one in found["alarms"]} == {("replica", "r2")}
    assert {one["code"] for one in found["alarms"]} == {"wrong-state", "two-roots"}
    assert {one["name"]: one["verdict"] for one in found["replicas"]} == {
        "r0": "agrees",
        "r1": "agrees",
        "r2": "differs",
    }
    result = run(client_file(tmp_path))
    assert result.exit_code == FOUND
    assert "REPLICA ALARM wrong-state: r2 has the state abababababab…" in " ".join(result.stdout.split())


@pytest.mark.criterion("REC-11")
def test_silence_is_said_and_is_no_alarm(cluster: Cluster, tmp_path: Path) -> None:
    cluster.dead.add("r0")
    found = answer(client_file(tmp_path))
    assert found["status"] == PASSED
    assert [one["verdict"] for one in found["replicas"]] == ["silent", "agrees", "agrees"]
    assert found["answered_by"] == "r1"
    cluster.dead |= {"r1", "r2"}
    result = run(client_file(tmp_path))
    assert result.exit_code == 44
    assert "client.toml: no replica answered" in result.stderr


@pytest.mark.criterion("REC-13")
def test_a_wrong_parameter_of_one_replica_is_named_with_its_field(cluster: Cluster, tmp_path: Path) -> None:
    other = msgspec.structs.replace(preset("portfolio"), maintenance_factor=0.85)

    def forge(name: str, what: str, content: dict[str, Any]) -> None:
        if (name, what) == ("r1", "parameters"):
            content["models"][0]["digest"] = other.digest
            if "parameters" in content["models"][0]:
                content["models"][0]["parameters"] = msgspec.to_builtins(other)

    cluster.forge = forge
    (alarm,) = answer(client_file(tmp_path))["alarms"]
    assert (alarm["label"], alarm["subject"], alarm["code"]) == ("parameter", "r1 portfolio", "differs")
    assert alarm["fields"] == [{"field": "maintenance_factor", "found": 0.85, "expected": 0.9}]


@pytest.mark.criterion("REC-2", "REC-10")
def test_a_cluster_knows_the_past_that_this_run_saw(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement, looks = file(tmp_path, STATED), 0

    def between(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            cluster.trade(500)
        if looks == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", between)
    result = run(client_file(tmp_path), "--statement", statement, "--every", 1)
    line = next(line for line in result.stdout.splitlines() if line.startswith("+") and "alice BTC-PERPETUAL" in line)
    assert "ours 1500, theirs 1000" in line
    assert "theirs is ours before position" in line
    once = answer(client_file(tmp_path), "--statement", statement)
    assert set(breaks(once).values()) == {""}
    assert any("replica's folder" in text for text in once["notes"])


@pytest.mark.criterion("REC-12")
def test_a_wrong_feed_is_named_by_source_and_item(cluster: Cluster, tmp_path: Path) -> None:
    cluster.quote(7900, 7901, 9000)
    found = answer(client_file(tmp_path))
    assert {(one["label"], one["subject"], one["code"]) for one in found["alarms"]} == {
        ("feed", "s2 BTC", "outlier"),
        ("feed", "s2 BTC-PERPETUAL", "outlier"),
    }
    cluster.quote(7900, 7901, 7902)
    assert answer(client_file(tmp_path))["alarms"] == []
