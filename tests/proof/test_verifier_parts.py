"""The verifier's parts against published vectors and against the engine's own code."""

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.roots import table_arrays
from holdfast.domain.portfolio import Portfolio
from holdfast.domain.signatures import is_signature, public_key_of, sign
from holdfast.margin.account import account_of, figures_of
from holdfast.margin.build import build_table
from holdfast.proof import verifier
from holdfast.proof.verifier import Array, Held, Refused

SOURCE = Path(verifier.__file__)
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.criterion("PRF-18", "VOT-1")
@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_signatures_of_rfc_8032(key, message, signature):
    key, message, signature = map(bytes.fromhex, (key, message, signature))
    assert verifier.is_signature(key, message, signature)
    assert not verifier.is_signature(key, message + b"x", signature)
    higher = int.from_bytes(signature[32:], "little") + verifier.ORDER
    assert not verifier.is_signature(key, message, signature[:32] + higher.to_bytes(32, "little"))


@pytest.mark.criterion("PRF-18", "VOT-2")
def test_keys_that_no_signature_is_accepted_under():
    for y in verifier.Y_SMALL_ORDER:
        for high in (0, 1 << 255):
            assert not verifier.is_usable_key((y | high).to_bytes(32, "little"))
    assert not verifier.is_usable_key((verifier.PRIME + 2).to_bytes(32, "little")), "not the canonical encoding"
    assert not verifier.is_usable_key((2).to_bytes(32, "little")), "no point of the curve"
    assert not verifier.is_usable_key(bytes(31))
    # S = 0 and R = A of order 1: every message would have this signature.
    assert not verifier.is_signature((1).to_bytes(32, "little"), b"any", (1).to_bytes(32, "little") + bytes(32))


@pytest.mark.criterion("PRF-18", "VOT-2")
@settings(max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 1023))
def test_both_accept_the_same_signatures(seed, message, bit):
    key, signature = public_key_of(seed), sign(seed, message)
    assert verifier.is_signature(key, message, signature)
    spoilt = bytearray(key + signature + message)
    spoilt[bit // 8 % len(spoilt)] ^= 1 << bit % 8
    parts = bytes(spoilt[:32]), bytes(spoilt[96:]), bytes(spoilt[32:96])
    assert verifier.is_signature(*parts) == is_signature(*parts)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 2**40), inner),
    max_leaves=20,
)


@pytest.mark.criterion("PRF-18", "STR-3")
@given(VALUES)
def test_messagepack_is_read_as_it_was_written(value):
    assert verifier.unpack(msgspec.msgpack.encode(value), "value") == value


@pytest.mark.criterion("PRF-18")
@given(st.binary(max_size=60))
def test_any_bytes_are_messagepack_or_refused(data):
    try:
        verifier.unpack(data, "value")
    except Refused:
        return


@pytest.mark.criterion("PRF-18")
@pytest.mark.parametrize(
    "data",
    [b"", b"\xdd\xff\xff\xff\xff", b"\x91" * 2_000 + b"\xc0", b"\xc1", b"\x01\x01", b"\x82\x01\x01\x01\x01"],
)
def test_what_is_no_messagepack(data):
    with pytest.raises(Refused):
        verifier.unpack(data, "value")


def table_of(model, market):
    """A model's table on every contract that it can margin, and the same as the verifier reads it."""
    parameters = worlds.models()[model]
    tradable = [one for one in worlds.INSTRUMENTS if worlds.tradable(one, parameters)]
    table = build_table(parameters, worlds.MARKETS[market], tradable, ("BTC", "ETH", "USD", "USDC"))
    arrays = table_arrays(table) | {"line_of_item": np.arange(len(table.line_names), dtype=np.int32)}
    kinds = dict(verifier.TABLE_ARRAYS)
    assert [(name, array.dtype.str) for name, array in arrays.items()] == list(verifier.TABLE_ARRAYS)
    read = {name: Array(array.shape, tuple(array.flatten().tolist())) for name, array in arrays.items()}
    assert read.keys() == kinds.keys()
    return table, read


@pytest.mark.criterion("PRF-16", "PRF-17")
@settings(max_examples=150)
@given(worlds.model_names, worlds.market_names, worlds.portfolios(most=12))
def test_margin_is_the_kernels_to_the_bit(model, market, portfolio):
    table, read = table_of(model, market)
    lines = tuple(one for one in portfolio.lines() if worlds.tradable(one.instrument, worlds.models()[model]))
    account = account_of(table, Portfolio(portfolio.balances, lines))
    figures = figures_of(table, account)
    held = [Held(*one) for one in zip(account.line.tolist(), account.quantity.tolist(), strict=True)]
    found = verifier.margin_of(read, held)
    assert tuple(found) == (figures.equity, figures.initial_margin, figures.maintenance_margin)
    assert all(str(one) != "-0.0" for one in found)


@pytest.mark.criterion("PRF-14")
@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        "[" * 100_000,
        '{"a": 1' + "0" * 60 + "}",
        "\ud800",
    ],
)
def test_json_that_two_readers_could_read_differently(text):
    with pytest.raises(Refused):
        verifier.read_json(text.encode("utf-8", "surrogatepass"), "text")


@pytest.mark.criterion("PRF-14")
@pytest.mark.parametrize("text", ["AA=", "AA", "AB==", "AA==\n", " AA==", "A A=", "AAé=", "AA==AA=="])
def test_base64_has_one_form(text):
    with pytest.raises(Refused):
        verifier.octets(text, "field")


@pytest.mark.criterion("PRF-18")
def test_the_verifier_is_one_file_of_the_standard_library():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names | {"__future__"}


@pytest.mark.criterion("PRF-18")
def test_the_verifier_runs_alone(tmp_path):
    alone = tmp_path / "verifier.py"
    alone.write_bytes(SOURCE.read_bytes())
    (tmp_path / "keys").write_text("{}")
    (tmp_path / "proof").write_text("{}")
    command = [sys.executable, "-I", "-S", str(alone)]
    unusable = subprocess.run(
        [*command, "proof", "--trust", "keys"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (unusable.returncode, unusable.stdout) == (2, "")
    assert unusable.stderr.startswith("error: keys: has  instead of format,")
    missing = subprocess.run([*command, "gone", "--trust", "keys"], cwd=tmp_path, capture_output=True, check=False)
    assert missing.returncode == 2
