"""The guard itself: rules, one after the other, over every text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agentgateway.exchange import Exchange
from agentgateway.interfaces import PASS, Guard, Host, Segment, Verdict
from agentgateway_guardrail_regex.config import RegexConfig, RuleConfig
from agentgateway_guardrail_regex.patterns import BUILTINS, LONGEST, Builtin, expression
from agentgateway_guardrail_regex.secrets import SECRETS


class RegexGuard(Guard):
    """Masks or refuses personal data and your own patterns."""

    Config = RegexConfig
    stream = "hold-window"

    def __init__(self, config: RegexConfig, host: Host) -> None:
        super().__init__(config, host)
        self.scopes = frozenset(config.scope)
        self.window = max(config.window, LONGEST)
        self._rules = [rule for index, each in enumerate(config.rules) for rule in compiled(each, index)]

    def check(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict:
        masks = {}
        for index, segment in enumerate(segments):
            text = masked = segment.text.encode("utf-8", "surrogatepass")
            for rule in self._rules:
                before, masked = masked, rule.mask(masked)
                if masked is not before and self.config.action == "reject":
                    return Verdict(rejected=True, reason=rule.name)
            if masked != text:
                masks[index] = masked.decode("utf-8", "surrogatepass")
        return Verdict(masks) if masks else PASS


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled expression and what takes the place of its matches. It reads UTF-8, which RE2 is twice as fast on."""

    name: str
    expression: Any
    holds: Callable[[bytes], bool]
    replacement: bytes

    def mask(self, text: bytes) -> bytes:
        """The text with every match replaced; matches of nothing, and those that do not hold, are passed over."""
        pieces: list[bytes] = []
        kept = at = 0
        while at <= len(text) and (match := self.expression.search(text, at)):
            start, end = match.span()
            if start == end or not self.holds(text[start:end]):
                at = start + 1
                continue
            pieces += text[kept:start], self.replacement
            kept = at = end
        return b"".join((*pieces, text[kept:])) if pieces else text


def compiled(config: RuleConfig, index: int) -> Iterator[Rule]:
    """The rule, ready to run; `secrets` is one for each kind of them."""
    name = config.name or config.builtin or f"rules[{index}]"
    for known in wanted(config):
        yield Rule(name, expression(known.pattern), known.holds, f"<{known.entity}>".encode())


def wanted(config: RuleConfig) -> Sequence[Builtin]:
    if config.builtin is None:
        return (Builtin("masked", config.pattern or ""),)
    if config.builtin == "secrets":
        return tuple(SECRETS.values())
    return ({**BUILTINS, **SECRETS}[config.builtin],)
