"""Price sources against each other: each one's last quote of an item beside those of the others, at one moment.

The rules are those by which the engine leaves quotes out (specs/marks.md MKS-2), so an alarm says what the price was
made without. What may not live here: prices themselves. Specification: specs/reconcile.md REC-12.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from holdfast.validate.reconcile.findings import Alarm, Label
from holdfast.validate.reconcile.picture import Answered, Seen

MILLION = 1e6
_NAMED_MAXIMUM = 4
"""Items that a sentence lists."""


class Quote(NamedTuple):
    """A source's last quote: number of the source, price in steps, the source's time, ns, and its sequence."""

    source: int
    price: int
    time: int
    sequence: int


class _Stale(NamedTuple):
    item: str
    age: int


def alarms(seen: Seen) -> Iterator[Alarm]:
    """What is wrong with feeds."""
    stale: dict[str, list[_Stale]] = defaultdict(list)
    for answer in seen.quotes:
        for item in answer.content["items"]:
            if item["open"]:
                yield from _far(answer, item)
                for source, found in _stale(answer, item):
                    stale[source].append(found)
    for source, items in sorted(stale.items()):
        yield _stale_alarm(seen, source, items)


def median(prices: list[int]) -> int:
    """The lower median of one price or more."""
    return sorted(prices)[(len(prices) - 1) // 2]


def _quotes(item: Mapping[str, Any]) -> list[Quote]:
    return [Quote(*one) for one in item["quotes"]]


def _oldest(answer: Answered) -> int:
    """The earliest time, ns, of a quote that is fresh."""
    return answer.time - int(answer.content["rules"]["age_maximum"])


def _far(answer: Answered, item: Mapping[str, Any]) -> Iterator[Alarm]:
    """Fresh quotes that are further from the median of all fresh ones than the rules allow."""
    fresh = [quote for quote in _quotes(item) if quote.time >= _oldest(answer)]
    if not fresh:
        return
    middle, allowed = median([quote.price for quote in fresh]), int(answer.content["rules"]["outlier_ppm"])
    far = [quote for quote in fresh if abs(quote.price - middle) * MILLION > float(middle) * allowed]
    names, step = answer.content["sources"], Decimal(item["step"])
    if far and len(fresh) == 2:
        said = " and ".join(f"{names[one.source]} says {_price(one.price, step)}" for one in fresh)
        text = (
            f"{said} of {item['name']}, further apart than {allowed:,} ppm: with two fresh sources nobody knows which"
        )
        yield _alarm(answer, f"{names[fresh[0].source]}, {names[fresh[1].source]} {item['name']}", "disagree", text)
        return
    for quote in far:
        apart = round((quote.price - middle) * MILLION / middle)
        text = (
            f"{names[quote.source]} says {_price(quote.price, step)} of {item['name']}, {apart:+,} ppm from the median "
            f"{_price(middle, step)} of {len(fresh)} sources (allowed {allowed:,})"
        )
        yield _alarm(answer, f"{names[quote.source]} {item['name']}", "outlier", text)


def _price(steps: int, step: Decimal) -> str:
    text = f"{steps * step:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _stale(answer: Answered, item: Mapping[str, Any]) -> Iterator[tuple[str, _Stale]]:
    for quote in _quotes(item):
        if quote.time < _oldest(answer):
            yield answer.content["sources"][quote.source], _Stale(item["name"], answer.time - quote.time)


def _stale_alarm(seen: Seen, source: str, items: list[_Stale]) -> Alarm:
    listed = ", ".join(one.item for one in items[:_NAMED_MAXIMUM])
    more = f" and {len(items) - _NAMED_MAXIMUM} more" if len(items) > _NAMED_MAXIMUM else ""
    age, allowed = max(one.age for one in items) / 1e9, int(seen.quotes[0].content["rules"]["age_maximum"]) / 1e9
    text = f"{source} has not quoted {listed}{more} for {age:,.1f} s of logical time (allowed {allowed:,.1f} s)"
    return Alarm(label=Label.FEED, subject=source, code="stale", text=text, position=seen.position, time=seen.time)


def _alarm(answer: Answered, subject: str, code: str, text: str) -> Alarm:
    return Alarm(label=Label.FEED, subject=subject, code=code, text=text, position=answer.position, time=answer.time)
