"""Values of the registry as bytes: one encoding for one value, on every machine and in every process.

Theory of operation. MessagePack alone is not enough for a hash: maps and sets have no order, and whether a library
leaves out a field that has its default can hang on whether two equal numbers are the same object. So a value is first
brought into a plain form: records become maps from field to value without the fields that have their defaults, maps are
sorted by key, sets become sorted lists. As a field at its default leaves no trace, a field can be added later without
changing the encoding of what was there before; a default may therefore never change.

What may not live here: what the values mean. Specification: specs/state-root.md.
"""

import functools
from typing import Any, NamedTuple

import msgspec

_ENCODER = msgspec.msgpack.Encoder()


class _Field(NamedTuple):
    """A field of a record: its name, and the bytes of its default; None where it has none."""

    name: str
    default: bytes | None


def canonical_bytes(value: object) -> bytes:
    """The bytes of a value made of records, maps, sets, lists, texts, bytes, numbers, truth values and None."""
    return _ENCODER.encode(plain(value))


def plain(value: object) -> object:
    """The value with its records as maps and everything in its order."""
    if isinstance(value, msgspec.Struct):
        return _record(value)
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, set | frozenset):
        return [plain(one) for one in sorted(value)]
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value


def _record(value: msgspec.Struct) -> dict[str, object]:
    kind = type(value)
    found: dict[str, object] = {}
    for field in _fields_of(kind):
        content = plain(getattr(value, field.name))
        if field.default is None or _ENCODER.encode(content) != field.default:
            found[field.name] = content
    config = kind.__struct_config__
    if config.tag_field is not None:
        found[config.tag_field] = config.tag
    return dict(sorted(found.items()))


@functools.cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    return tuple(_Field(field.name, _default_bytes(field)) for field in msgspec.structs.fields(kind))


def _default_bytes(field: Any) -> bytes | None:
    if field.default is not msgspec.NODEFAULT:
        return canonical_bytes(field.default)
    return canonical_bytes(field.default_factory()) if field.default_factory is not msgspec.NODEFAULT else None
