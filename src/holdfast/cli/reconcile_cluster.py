"""A running cluster as the source of a reconciliation: one replica is asked everything, and each one for its roots.

What may not live here: judging. A replica that does not answer is a fact and no error; a cluster of which nobody
answers is one.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import msgspec

from holdfast.cli.reconcile_questions import Question, Wanted, gather, sets_of
from holdfast.client.configuration import Configuration, read_configuration
from holdfast.client.errors import ClientError, UnreachableError
from holdfast.client.outcome import Answer
from holdfast.validate.reconcile.history import History
from holdfast.validate.reconcile.picture import Answered, Heard, Seen, picture_of

TIMEOUT_S = 5.0
REPLICA_TIMEOUT_S = 2.0
"""For which one replica's answer is waited, in seconds: those that are silent cost as much at every look."""
TRIES = 4
"""How often a region is asked for each of its replicas, where it has several: any of them may answer."""


class Asks(Protocol):
    """What is needed of a client."""

    def together(self, questions: Sequence[Question]) -> Answer:
        """See `holdfast.Client`."""

    def close(self) -> None:
        """See `holdfast.Client`."""


def connect(configuration: Configuration, timeout_s: float) -> Asks:
    """A client whose questions fail after so many seconds."""
    from holdfast.client.synchronous import Client

    return Client(configuration, name="reconcile", read_timeout_s=timeout_s)


class ClusterSource:
    """A cluster, by its client.toml. Connections stay open between looks."""

    def __init__(self, path: Path) -> None:
        """Connect: to all regions together, and to each alone.

        Raises:
            InputError: The file is no configuration.
            ClientError: No server can be reached.
        """
        self.label = str(path)
        self._configuration = read_configuration(path)
        self._history = History()
        self._regions: dict[str, Asks] = {}
        with ExitStack() as undo:
            self._anybody = connect(self._configuration, TIMEOUT_S)
            undo.callback(self._anybody.close)
            for region in dict.fromkeys(place.region for place in self._configuration.replicas):
                self._regions[region] = connect(_only(self._configuration, region), REPLICA_TIMEOUT_S)
                undo.callback(self._regions[region].close)
            self._open = undo.pop_all()

    def close(self) -> None:
        """Disconnect."""
        self._open.close()

    def look(self, wanted: Wanted) -> Seen:
        """Ask.

        Raises:
            ClientError: No replica answers.
        """
        try:
            found = gather(lambda questions: _together(self._anybody, questions), wanted, self._history)
        except UnreachableError as error:
            raise UnreachableError(self.label, error.problem, error.advice) from None
        for account in picture_of(found.holdings).accounts.values():
            self._history.begin(account.name, account.position, account.time, account.rows)
            self._history.note(account.name, account.position, account.time, account.rows)
        heard, more = self._heard(found.parameters)
        return Seen(
            source=self.label,
            log="",
            folded=False,
            ledger=found.ledger,
            holdings=found.holdings,
            quotes=found.quotes,
            parameters=found.parameters,
            root=found.root,
            replicas=heard,
            sets=found.sets | more,
            history=self._history,
        )

    def _heard(self, usual: Answered) -> tuple[tuple[Heard, ...], dict[str, Mapping[str, Any]]]:
        """Each replica's roots and parameters, and the sets of models that are not the same everywhere."""
        answers, problems = dict[str, list[Answered]](), dict[str, str]()
        for region, client in self._regions.items():
            answers |= self._answers_of(region, client, problems)
        digests = _digests([usual, *(parameters for _, parameters in answers.values())])
        split = [name for name, found in digests.items() if len(found) > 1]
        sets = dict[str, Mapping[str, Any]]()
        for client in self._regions.values() if split else ():
            try:
                sets |= sets_of(lambda questions, client=client: _together(client, questions), split)  # type: ignore[misc]
            except ClientError:
                continue
        return tuple(self._one(place, answers, problems) for place in self._configuration.replicas), sets

    def _answers_of(self, region: str, client: Asks, problems: dict[str, str]) -> dict[str, list[Answered]]:
        """Root and parameters by replica, of a region."""
        members = {place.name for place in self._configuration.replicas if place.region == region}
        found: dict[str, list[Answered]] = {}
        for _ in range(1 if len(members) == 1 else TRIES * len(members)):
            try:
                answers = _together(client, [("root", {}), ("parameters", {})])
            except ClientError as error:
                problems[region] = str(error)
                break
            found.setdefault(answers[0].replica, answers)
            if members <= found.keys():
                break
        return found

    def _one(self, place: Any, answers: Mapping[str, Sequence[Answered]], problems: Mapping[str, str]) -> Heard:
        if place.name not in answers:
            return Heard(place.name, place.region, problem=problems.get(place.region, "another of its region answered"))
        root, parameters = answers[place.name]
        return Heard(place.name, place.region, root, parameters)


def _only(configuration: Configuration, region: str) -> Configuration:
    """The configuration with the replicas of one region."""
    places = tuple(place for place in configuration.replicas if place.region == region)
    return msgspec.structs.replace(configuration, replicas=places, region=region)


def _together(client: Asks, questions: Sequence[Question]) -> list[Answered]:
    """The answers to some questions, all of one position of one replica."""
    found = client.together(questions)
    return [
        Answered(content, found.position, found.time, found.replica, tuple(found.degraded))
        for content in found["answers"]
    ]


def _digests(answers: Sequence[Answered]) -> dict[str, set[str]]:
    """The digests of each model, by name."""
    found: dict[str, set[str]] = {}
    for answer in answers:
        for one in answer.content["models"]:
            found.setdefault(one["name"], set()).add(one["digest"])
    return found
