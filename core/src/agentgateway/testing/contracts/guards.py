"""The suite for guards."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from agentgateway.interfaces import (
    PASS,
    Guard,
    Segment,
    Verdict,
)
from agentgateway.testing.contracts.plugin import PluginContract
from agentgateway.testing.exchanges import chat


class GuardContract(PluginContract):
    """`rejected` or `masked` is a text that the configuration under test acts on; `clean` one that passes."""

    group = "agentgateway.guards"
    interface = Guard
    clean: ClassVar[str] = "the quick brown fox"
    caught: ClassVar[str]

    async def judge(self, *texts: str) -> tuple[Verdict, list[str]]:
        guard = self.build()
        await guard.start()
        replaced = list(texts)
        segments = [
            Segment("user", "messages", f"messages[{i}].content", text, _setter(replaced, i))
            for i, text in enumerate(texts)
        ]
        verdict = guard.check(segments, chat())
        verdict = await verdict if inspect.isawaitable(verdict) else verdict
        await guard.stop()
        assert isinstance(verdict, Verdict)
        return verdict, replaced

    async def test_a_clean_text_passes(self) -> None:
        verdict, _ = await self.judge(self.clean)
        assert verdict == PASS

    async def test_no_text_passes(self) -> None:
        verdict, _ = await self.judge()
        assert verdict == PASS

    async def test_what_it_catches_is_masked_or_rejected(self) -> None:
        verdict, _ = await self.judge(self.clean, self.caught)
        assert verdict.rejected or set(verdict.masks) == {1}
        assert self.caught not in verdict.masks.get(1, "")

    async def test_its_reason_quotes_nothing(self) -> None:
        verdict, _ = await self.judge(self.caught)
        assert self.caught not in verdict.reason

    async def test_it_does_not_edit_segments_itself(self) -> None:
        _, texts = await self.judge(self.caught)
        assert texts == [self.caught]

    def test_it_states_what_it_promises_on_a_stream(self) -> None:
        guard = self.build()
        assert guard.stream in {"hold-all", "hold-window", "observe"}
        assert guard.stream != "hold-window" or guard.window > 0


def _setter(texts: list[str], index: int) -> Any:
    def put(text: str) -> None:
        texts[index] = text

    return put
