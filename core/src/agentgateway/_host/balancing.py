"""The route phase's choice among targets: what is admitted, has not failed this exchange, and is well.

Priority first: the lowest priority that has an active target is used; when none has, evictions are forgotten rather
than traffic refused. Inside it, the providers of one `ai` backend are chosen by two draws of which the healthier wins,
backends of a route by weight alone, so that a share that somebody wrote down is the share that comes. A key of
`sessionAffinity` takes the place of chance.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from hashlib import blake2b

from agentgateway.errors import GatewayError, InternalError, InvalidRequest
from agentgateway.exchange import Exchange, Target
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Choice


class Balancer:
    """Sets `exchange.target`. Raises the last refusal when no target admits the exchange."""

    def __init__(self, targets: Sequence[Target], choice: Choice = "weight") -> None:
        self._targets = tuple(target for target in targets if target.weight > 0)
        self._choice = choice
        plain = len(self._targets) == 1 and not self._targets[0].admits and self._targets[0].when is None
        self._only = self._targets[0] if plain else None

    @hookimpl
    def route(self, exchange: Exchange) -> None:
        if self._only is not None:
            exchange.target = self._only
            return
        attempt = exchange.attempt
        allowed = admitted(self._targets, exchange)
        if self._choice == "first":
            exchange.target = allowed[0]
            return
        untried = [target for target in allowed if target not in attempt.failed]
        attempt.watched = True
        attempt.others = len(untried) > 1
        bucket = best(untried or allowed)
        key = attempt.affinity
        if len(bucket) == 1:
            exchange.target = bucket[0]
        elif key is not None:
            exchange.target = max(bucket, key=lambda target: rendezvous(key, target))
        else:
            exchange.target = drawn(bucket, by_health=self._choice == "health")


def admitted(targets: Sequence[Target], exchange: Exchange) -> Sequence[Target]:
    """Those whose own rules let the exchange pass. Raises what the last of the others raised."""
    refused: GatewayError | None = None
    found = []
    for target in targets:
        if target.when is not None and not target.when.holds_or(exchange, False):
            continue
        try:
            for step in target.admits:
                step.call(exchange)
        except GatewayError as error:
            refused = error
        else:
            found.append(target)
    if found:
        return found
    if refused is not None:
        raise refused
    if targets:
        raise NothingFits
    raise InternalError("this route has no backend")


class NothingFits(InvalidRequest):
    """No target's condition holds for this exchange."""

    code = "virtual_model_no_matching_target"
    default_message = "no target of this model fits the request"


def best(targets: Sequence[Target]) -> Sequence[Target]:
    """The active targets of the lowest priority that has any; failing that, the lowest priority as it is."""
    now = time.monotonic()
    well = [target for target in targets if target.health.active(now)] or targets
    first = min([target.priority for target in well])
    return [target for target in well if target.priority == first]


def drawn(bucket: Sequence[Target], *, by_health: bool) -> Target:
    """A draw by weight, or the healthier of two (the same one may be drawn twice, which keeps the weights)."""
    weights = [target.weight for target in bucket]
    if not by_health:
        return random.choices(bucket, weights)[0]  # noqa: S311
    one, other = random.choices(bucket, weights, k=2)  # noqa: S311
    return other if other.health.rank > one.health.rank else one


def rendezvous(key: str, target: Target) -> float:
    """Weighted rendezvous hashing (Thaler and Ravishankar 1998; the logarithm gives each its share): a target that goes
    away moves only its own keys."""
    digest = blake2b(f"{key}\0{target.name}\0{target.endpoint}\0{target.model}".encode(), digest_size=7).digest()
    return -target.weight / math.log((int.from_bytes(digest, "big") + 1) / (2**56 + 1))
