"""Model Armor: what it takes, and what its answers say.

https://cloud.google.com/security-command-center/docs/reference/model-armor/rpc/google.cloud.modelarmor.v1
"""

from __future__ import annotations

from collections.abc import Iterator

from google.cloud.modelarmor_v1 import FilterMatchState, FilterResult, InvocationResult, SanitizationResult

from agentgateway.errors import GuardFailed

LONGEST = 8_000
"""Characters of a text that are judged at once: every filter takes as many, in any script."""
OVERLAP = 200
"""Characters that a piece of a text shares with the one before it."""


def pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most `LONGEST` characters. Blank texts have none."""
    if text.strip():
        for start in range(0, max(1, len(text) - OVERLAP), LONGEST - OVERLAP):
            yield text[start : start + LONGEST]


def found(result: SanitizationResult) -> str:
    """What is wrong with a text, or nothing. Raises `GuardFailed` for an answer that does not say, or not of every
    filter of the template."""
    if result.filter_match_state == FilterMatchState.MATCH_FOUND:
        names = {name for result in result.filter_results.values() for name in matched(result)}
        return ", ".join(sorted(names)) or "a filter"
    if result.filter_match_state != FilterMatchState.NO_MATCH_FOUND:
        raise GuardFailed(detail="Model Armor's answer does not say whether anything matched")
    if result.invocation_result != InvocationResult.SUCCESS:
        raise GuardFailed(detail="not every filter of Model Armor has looked at the text")
    return ""


def matched(result: FilterResult) -> Iterator[str]:
    """The filters that matched, by the names of their settings."""
    states = {
        "responsibleAi": result.rai_filter_result.match_state,
        "sensitiveData": result.sdp_filter_result.inspect_result.match_state,
        "deidentifiedData": result.sdp_filter_result.deidentify_result.match_state,
        "promptInjectionAndJailbreak": result.pi_and_jailbreak_filter_result.match_state,
        "maliciousUris": result.malicious_uri_filter_result.match_state,
        "csam": result.csam_filter_filter_result.match_state,
        "virusScan": result.virus_scan_filter_result.match_state,
    }
    return (name for name, state in states.items() if state == FilterMatchState.MATCH_FOUND)
