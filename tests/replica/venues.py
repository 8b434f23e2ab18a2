"""Engines for the tests of the replica room."""

import numpy as np

from holdfast.core.fold import Fold
from holdfast.replica.engine import Engine

START = "2020-03-12T10:00:00Z"
HOUR = 3_600 * 10**9


def venue(log=None, *, instruments=("BTC-PERPETUAL",), models=("portfolio",)):
    """Alice and bob with 10 BTC each at 7,900; positions 0 to 12 or so."""
    engine = Engine(log)
    assert engine.submit([{"command": "define_asset", "name": name} for name in ("USD", "USDC", "BTC", "ETH")])
    assert engine.submit([{"command": "define_instrument", "name": name} for name in instruments])
    for model in models:
        assert engine.define_model(model)
    assert engine.open_account("alice")
    assert engine.open_account("bob")
    assert engine.tick(START)
    assert engine.post_prices({"BTC": 7900, "BTC-PERPETUAL": 7895, "USDC": 1})
    assert engine.submit(
        [{"command": "deposit", "account": name, "asset": "BTC", "amount": 10} for name in ("alice", "bob")]
    )
    return engine


def fingerprint(fold: Fold) -> tuple[bytes, int, bytes]:
    """Equal for equal states."""
    return fold.chain, fold.position, fold.root()


def balance(engine, account, asset="BTC"):
    return engine.account(account).balances.get(asset, 0)


def frames_of(log):
    return [frame for _, frame in log.read(0)]


def copy_of(records, **fields):
    """Records with some fields replaced."""
    copied = np.array(records)
    for name, value in fields.items():
        copied[name] = value
    return copied
