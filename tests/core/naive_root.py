"""The state root once more, slowly, from the words of specs/state-root.md and specs/merkle.md.

Nothing of the package is used but the arrays and records that it looks at: leaves, packing and trees are its own.
"""

import hashlib
import math
import struct

import msgspec

NAN = bytes.fromhex("000000000000f87f")


def words(*numbers):
    return struct.pack(f"<{len(numbers)}q", *(int(n) for n in numbers))


def pack(value):
    """MessagePack in its shortest form; records as STR-3 says."""
    if isinstance(value, msgspec.Struct):
        value = _record(value)
    if isinstance(value, set | frozenset):
        value = sorted(value)
    return next(form(value) for kind, form in _FORMS if isinstance(value, kind))


def _whole(value):
    if -32 <= value < 128:
        return struct.pack(">b", value)
    forms = ("B", 0xCC), ("H", 0xCD), ("I", 0xCE), ("Q", 0xCF)
    if value < 0:
        forms = ("b", 0xD0), ("h", 0xD1), ("i", 0xD2), ("q", 0xD3)
    for form, head in forms:
        try:
            return bytes([head]) + struct.pack(f">{form}", value)
        except struct.error:
            continue
    raise OverflowError(value)


def _head(length, fixed, below, heads):
    if length < below:
        return bytes([fixed | length])
    for head, form, limit in zip(heads, [">B", ">H", ">I"], (8, 16, 32), strict=True):
        if head is not None and length < 1 << limit:
            return bytes([head]) + struct.pack(form, length)
    raise OverflowError(length)


def _text(value):
    data = value.encode()
    return _head(len(data), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + data


def _map(value):
    entries = b"".join(pack(key) + pack(value[key]) for key in sorted(value))
    return _head(len(value), 0x80, 16, (None, 0xDE, 0xDF)) + entries


_FORMS = (
    (type(None), lambda _: b"\xc0"),
    (bool, lambda value: b"\xc3" if value else b"\xc2"),
    (int, _whole),
    (float, lambda value: b"\xcb" + struct.pack(">d", value)),
    (str, _text),
    (bytes, lambda value: _head(len(value), 0, 0, (0xC4, 0xC5, 0xC6)) + value),
    (dict, _map),
    (list | tuple, lambda value: _head(len(value), 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(map(pack, value))),
)


def _record(value):
    entries = {}
    for field in msgspec.structs.fields(type(value)):
        content = getattr(value, field.name)
        if field.default is not msgspec.NODEFAULT:
            defaults = [field.default]
        else:
            defaults = [field.default_factory()] if field.default_factory is not msgspec.NODEFAULT else []
        if pack(content) not in map(pack, defaults):
            entries[field.name] = content
    tag = value.__struct_config__.tag
    return entries | ({"type": tag} if tag is not None else {})


def accounts(machine):
    state = machine.state
    for row in state.accounts[: state.counters[1]].tolist():
        start, count, _, model, status, version, _, _, _, order_last, _ = row
        held = range(start, start + count)
        rows = sorted((int(state.row_item[k]), *state.ledger[k].tolist()) for k in held)
        yield words(model, status, version, order_last, count) + b"".join(words(*one) for one in rows)


def orders(machine):
    state = machine.state
    found = [row for row in state.orders[: state.counters[4]].tolist() if row[2] != 0]
    for account, item, remaining, price, number, command, _ in sorted(found, key=lambda r: (r[5], r[0], r[4])):
        yield words(command, account, number, item, remaining, price)


def sessions(machine):
    state = machine.state
    for identity, role, subject, following, ring, kept, used in state.sessions[: state.counters[6]].tolist():
        outcomes = state.kept[ring : ring + kept]
        yield words(identity, role, subject, following, kept, used) + b"".join(map(outcome, outcomes))


def outcome(one):
    floats = [NAN if math.isnan(one[f]) else struct.pack("<d", one[f]) for f in ("equity", "initial")]
    head = struct.pack("<ii", one["reason"], one["repeated"]) + words(one["limit"], one["passes"], one["made"])
    return head + b"".join(floats) + words(one["command"], 0)


def market(machine):
    state = machine.state
    yield words(state.counters[0], state.counters[8], machine.registry.ticks)
    for item in range(state.counters[2]):
        yield words(*state.prices[item]) + b"".join(words(*quote) for quote in state.quotes[item])


def parameters(machine):
    state, registry = machine.state, machine.registry
    yield pack(registry.rules)
    yield pack(list(registry.sources))
    for place in range(4):
        yield pack(registry.models[place]) if place < len(registry.models) else b""
    for item, one in enumerate(registry.items):
        definition = {"name": one.name, "decimals": one.decimals} | ({"lot": one.lot} if one.lot else {})
        yield words(*state.items[item]) + pack(definition)


def roles(machine):
    registry = machine.registry
    defaults = {"frozen": False, "logic": 1, "withdrawals_made": 0}
    names = "alarms ballots certified checkpoints frozen leases logic marks quarantined quarantines releases replicas"
    names += " roots withdrawals withdrawals_made"
    for name in names.split():
        value = getattr(registry, name)
        if value != defaults.get(name) and (name in defaults or len(value)):
            yield pack([name, value])


def tables(machine):
    marked = machine.marked
    yield pack([marked.market.time, len(marked.tables)])
    for model, table in enumerate(marked.tables):
        arrays = dict(zip(table.arrays._fields, table.arrays, strict=True))
        del arrays["today"]
        arrays["values"] = arrays["values"][:, : len(table.scenarios)]
        arrays["basis"] = arrays["basis"][:, : len(table.basis_scenarios)]
        arrays["multipliers"] = arrays["multipliers"][:, :, : len(table.scenarios)]
        arrays["tags"], arrays["model"] = arrays["tags"][:, :3], arrays["model"][:5]
        arrays["line_of_item"] = machine.state.lines[model, : machine.state.counters[2]]
        for name, array in arrays.items():
            kind = {8: "<f8", 4: "<i4"}[array.itemsize]
            data = b"".join(struct.pack(f"<{'d' if kind == '<f8' else 'i'}", x) for x in array.reshape(-1).tolist())
            yield pack([model, name, kind, list(array.shape), data])


SECTIONS = {
    "accounts": accounts,
    "orders": orders,
    "sessions": sessions,
    "market": market,
    "parameters": parameters,
    "roles": roles,
    "risk-table": tables,
}


def tree_root(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def naive_root(machine):
    """The state root of a machine."""
    data = b"HFSR" + struct.pack("<HH", 1, len(SECTIONS))
    for name, leaves_of in SECTIONS.items():
        leaves = list(leaves_of(machine))
        data += name.encode().ljust(16, b"\0") + struct.pack("<Q", len(leaves)) + tree_root(leaves)
    return hashlib.sha256(data).digest()
