"""Values as TOML. The standard library reads it and does not write it.

What lives here: texts, numbers, lists, tables and lists of tables. What may not: what they mean.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from holdfast.domain.errors import invariant


def toml_text(value: msgspec.Struct, heading: str) -> str:
    """A struct of texts, numbers, lists, tables and lists of tables as TOML, below a heading."""
    plain: Mapping[str, Any] = msgspec.to_builtins(value, enc_hook=str)
    return "\n".join([f"# {heading}", *_lines(plain, "")]) + "\n"


def _lines(table: Mapping[str, Any], path: str) -> Iterator[str]:
    """First what stands by itself, then the tables, as TOML wants it."""
    given = {name: value for name, value in table.items() if value is not None}
    for name, value in given.items():
        if not _is_table(value) and not _is_tables(value):
            yield f"{name} = {_written(value)}"
    for name, value in given.items():
        inner = f"{path}{name}"
        if _is_table(value):
            yield from ("", f"[{inner}]", *_lines(value, f"{inner}."))
        elif _is_tables(value):
            for one in value:
                yield from ("", f"[[{inner}]]", *_lines(one, f"{inner}."))


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_table, value))


def _written(value: Any) -> str:
    """One value. TOML writes texts, numbers, truth values and lists of texts as JSON does, but for one character."""
    invariant(isinstance(value, str | int | float | bool | list | tuple), f"TOML has no {type(value).__name__}")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
