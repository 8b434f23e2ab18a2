"""Parameters: the replicas' against each other, and the engine's against what was approved, field by field.

Specification: specs/reconcile.md REC-13.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.domain.commands import SetRules
from holdfast.domain.errors import InputError
from holdfast.domain.parameters import AnyParameters
from holdfast.domain.reading import json_value, mapping, record
from holdfast.domain.units import format_time
from holdfast.margin.presets import load_parameters
from holdfast.validate.reconcile.findings import Alarm, Difference, Label
from holdfast.validate.reconcile.picture import Answered, Seen

NAMED_MAXIMUM: Final = 8
"""Fields that a sentence lists; the alarm has all of them."""
ABSENT: Final = "absent"


class Approved(NamedTuple):
    """What was approved.

    Attributes:
        models: Parameter sets by the model's name, or by the set's own.
        rules: Values of rules by name.
    """

    models: Mapping[str, AnyParameters]
    rules: Mapping[str, int]


def read_approved(source: bytes) -> Approved:
    """What a file approves: one parameter set, or models and rules.

    Raises:
        InputError: It is no such file, or a set or rule of it cannot be.
    """
    value = mapping(json_value(source, "parameters"), "parameters")
    if "type" in value:
        found = load_parameters(source)
        return Approved({found.name: found}, {})
    given = record(value, "", ("models", "rules"))
    models = {}
    for name, one in mapping(given.get("models"), "models").items():
        models[name] = load_parameters(msgspec.json.encode(one))
    rules = {name: _rule(name, one) for name, one in mapping(given.get("rules"), "rules").items()}
    if not models and not rules:
        raise InputError("missing-field", "models", None, "give a parameter set, or models and rules")
    return Approved(models, rules)


def _rule(name: str, value: Any) -> int:
    known = SetRules.__struct_fields__
    if name not in known:
        raise InputError("malformed", f"rules.{name}", None, f"use only {', '.join(known)}", "means nothing")
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError("malformed", f"rules.{name}", value, "give a whole number")
    return value


def differences(found: Any, expected: Any, path: str = "") -> Iterator[Difference]:
    """The fields in which two plain values differ, by path."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in [*found, *(key for key in expected if key not in found)]:
            yield from differences(found.get(key, ABSENT), expected.get(key, ABSENT), f"{path}.{key}".lstrip("."))
    elif _is_list(found) and _is_list(expected) and len(found) == len(expected):
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, f"{path}[{place}]")
    elif found != expected:
        yield Difference(path, found, expected)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def alarms(seen: Seen, approved: Approved | None) -> Iterator[Alarm]:
    """What is wrong with parameters."""
    heard = [(one.name, one.parameters) for one in seen.replicas if one.parameters is not None]
    for place, (name, answer) in enumerate(heard):
        others = heard[:place] + heard[place + 1 :]
        yield from _against_others(seen, name, answer, others)
    if approved is not None:
        yield from _against_approved(seen, approved)


def _against_others(seen: Seen, name: str, answer: Answered, others: Sequence[tuple[str, Answered]]) -> Iterator[Alarm]:
    """A replica against the others: it is the subject unless most of those that can be compared agree with it."""
    for model in answer.content["models"]:
        subject = f"{name} {model['name']}"
        same = [(one, asked, _model(asked, model["name"])) for one, asked in others]
        rivals = [(one, other) for one, _, other in same if other and other["version"] == model["version"]]
        against = [(one, other) for one, other in rivals if other["digest"] != model["digest"]]
        if against and _is_minority(len(against), len(rivals)):
            fields = _fields(seen, model["digest"], against[0][1]["digest"])
            text = f"{name} has other parameters of {model['name']} version {model['version']} than {against[0][0]}"
            yield _alarm(seen, subject, "differs", text, fields)
        newer = [
            (one, other["version"])
            for one, asked, other in same
            if other and other["version"] > model["version"] and asked.position <= answer.position
        ]
        if newer:
            text = f"{name} has {model['name']} version {model['version']}, {newer[0][0]} version {newer[0][1]}"
            yield _alarm(seen, subject, "older", f"{text} without being further in the log")
    yield from _rules_against(seen, name, answer, others)


def _is_minority(against: int, rivals: int) -> bool:
    """Whether at most half of the replicas compared, this one among them, have what this one has."""
    return 2 * (1 + rivals - against) <= 1 + rivals


def _model(answer: Answered, name: str) -> Mapping[str, Any] | None:
    return next((one for one in answer.content["models"] if one["name"] == name), None)


def _rules_against(seen: Seen, name: str, answer: Answered, others: Sequence[tuple[str, Answered]]) -> Iterator[Alarm]:
    rivals = [(one, other) for one, other in others if other.position == answer.position]
    against = [(one, other) for one, other in rivals if other.content["rules"] != answer.content["rules"]]
    if against and _is_minority(len(against), len(rivals)):
        fields = tuple(differences(answer.content["rules"], against[0][1].content["rules"]))
        yield _alarm(seen, f"{name} rules", "rules", f"{name} has other rules than {against[0][0]}", fields)


def _against_approved(seen: Seen, approved: Approved) -> Iterator[Alarm]:
    models = seen.parameters.content["models"]
    for name, wanted in approved.models.items():
        found = next((one for one in models if one["name"] == name), None)
        found = found or next((one for one in models if one["set"] == name), None)
        if found is None:
            yield _alarm(seen, name, "missing", f"the approved model {name} is not defined here")
        elif found["digest"] != wanted.digest:
            fields = _fields(seen, found["digest"], wanted.digest, {wanted.digest: msgspec.to_builtins(wanted)})
            text = f"{found['name']} version {found['version']} is not what was approved{_to_come(found, wanted)}"
            yield _alarm(seen, found["name"], "not-approved", text, fields)
    fields = tuple(
        Difference(name, seen.parameters.content["rules"].get(name, ABSENT), value)
        for name, value in approved.rules.items()
        if seen.parameters.content["rules"].get(name, ABSENT) != value
    )
    if fields:
        yield _alarm(seen, "rules", "not-approved", "rules are not what was approved", fields)


def _to_come(found: Mapping[str, Any], wanted: AnyParameters) -> str:
    if not found["pending"] or found["pending"][1] != wanted.digest:
        return ""
    return f" (the approved set is to hold from {format_time(found['pending'][0])} on)"


def _fields(
    seen: Seen, found: str, expected: str, more: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Difference, ...]:
    """The fields in which two sets differ, given by their digests; none where one of them was not heard."""
    sets = {**seen.sets, **(more or {})}
    if found not in sets or expected not in sets:
        return ()
    return tuple(differences(sets[found], sets[expected]))


def _alarm(seen: Seen, subject: str, code: str, text: str, fields: Sequence[Difference] = ()) -> Alarm:
    listed = "; ".join(
        f"{one.field} is {_short(one.found)} instead of {_short(one.expected)}" for one in fields[:NAMED_MAXIMUM]
    )
    more = f" and {len(fields) - NAMED_MAXIMUM} more" if len(fields) > NAMED_MAXIMUM else ""
    said = f"{text}: {listed}{more}" if listed else text
    return Alarm(
        label=Label.PARAMETER,
        subject=subject,
        code=code,
        text=said,
        position=seen.position,
        time=seen.time,
        fields=tuple(fields),
    )


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
