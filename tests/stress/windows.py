"""The markets of the packaged windows, made once."""

import functools

from holdfast.stress.history import load_window
from holdfast.stress.market import MarketPath, market_path
from holdfast.stress.venue import venue_for


@functools.cache
def path_of(name: str) -> MarketPath:
    history = load_window(name)
    return market_path(history, venue_for(int(history.time_ns[0]), history.end_ns, float(history.open[0])))
