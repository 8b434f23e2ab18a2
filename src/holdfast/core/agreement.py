"""What the numbers of two engines say together (specs/quorum.md, "Two engines").

Two calculations never agree to the last bit, so what is compared is not the numbers but what follows from them, with a
tolerance that the log's rules name. What may not live here: counting votes, and the state.
"""

from collections.abc import Sequence

from holdfast.domain.commands import SetRules
from holdfast.domain.votes import Verdict

MICRO, NANO = 1_000_000, 1_000_000_000


def tolerance(rules: SetRules, maintenance: float) -> float:
    """How far numbers about an account may differ, in the numeraire.

    Args:
        rules: The tolerance's two parts.
        maintenance: The margin of the account by the first engine that is compared, numeraire: its size.
    """
    return rules.tolerance_micros / MICRO + rules.tolerance_ppb / NANO * max(maintenance, 0.0)


def word_on_account(first: tuple[float, float], second: tuple[float, float], allowed: float) -> Verdict:
    """What a replica says of an account from both engines' (equity, maintenance margin).

    BELOW where both are below by more than the tolerance, ABOVE where one is above by more than it, else BAND.
    """
    beyond = [equity - maintenance for equity, maintenance in (first, second)]
    if any(x > allowed for x in beyond):
        return Verdict.ABOVE
    return Verdict.BELOW if all(x < -allowed for x in beyond) else Verdict.BAND


def word_on_withdrawal(first: tuple[float, float], second: tuple[float, float], allowed: float) -> Verdict:
    """ABOVE, it may leave, where the first engine's equity covers initial margin and the second's does, or nearly."""
    covered = first[0] >= first[1] and second[0] - second[1] >= -allowed
    return Verdict.ABOVE if covered else Verdict.BAND


def differ(first: Sequence[float], second: Sequence[float], allowed: float) -> bool:
    """Whether any number of one engine is further from the other's than the tolerance."""
    return any(abs(a - b) > allowed for a, b in zip(first, second, strict=True))
