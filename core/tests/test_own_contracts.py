"""What the core offers itself keeps the contracts that it asks of everybody."""

from pathlib import Path
from typing import Any, ClassVar

from agentgateway.testing import (
    BackendContract,
    DialectContract,
    PolicyContract,
    ProtocolContract,
    SectionContract,
    StoreContract,
)

SIMULATED = {"provider": {"simulator": {}}}


class TestAccessLog(PolicyContract):
    name = "accessLog"
    levels = ("gateway",)


class TestAuthorization(PolicyContract):
    name = "authorization"
    config: ClassVar[Any] = {"rules": ["true"]}
    levels = ("gateway", "route", "backend")


class TestBackendTls(PolicyContract):
    name = "backendTLS"
    levels = ("route", "backend")


class TestBackendTunnel(PolicyContract):
    name = "backendTunnel"
    config: ClassVar[Any] = {"proxy": {"host": "proxy.test:3128"}}
    levels = ("gateway", "route", "backend")


class TestRetry(PolicyContract):
    name = "retry"
    config: ClassVar[Any] = {"attempts": 2, "codes": [503]}


class TestTimeout(PolicyContract):
    name = "timeout"
    config: ClassVar[Any] = {"requestTimeout": "10s", "backendRequestTimeout": "5s"}


class TestAi(PolicyContract):
    name = "ai"
    config: ClassVar[Any] = {"defaults": {"temperature": 0}, "routes": {"/chat": "completions"}}


class TestPromptGuard(PolicyContract):
    name = "promptGuard"
    config: ClassVar[Any] = {"request": [{"regex": {"rules": [{"builtin": "email"}]}}]}


class TestAiBackend(BackendContract):
    name = "ai"
    config: ClassVar[Any] = SIMULATED


class TestModelsBackend(BackendContract):
    name = "models"
    config: ClassVar[Any] = {"names": ["a"]}


class TestHostBackend(BackendContract):
    name = "host"
    config: ClassVar[Any] = "127.0.0.1:9"


class TestInternalBackend(BackendContract):
    name = "internal"


class TestLlmSection(SectionContract):
    name = "llm"
    config: ClassVar[Any] = {"models": [{"name": "a", "provider": "simulator"}, {"name": "*", "provider": "simulator"}]}


class TestMemory(StoreContract):
    name = "memory"
    shared = lasting = False
    wrong = "memory:here"

    def url(self, folder: Path) -> str:
        return "memory:"


class TestSqlite(StoreContract):
    name = "sqlite"
    wrong = "sqlite:"

    def url(self, folder: Path) -> str:
        return "sqlite:state.sqlite"


class TestHttp(ProtocolContract):
    name = "http"


class TestLlm(ProtocolContract):
    name = "llm"


class TestCompletions(DialectContract):
    name = "completions"
    spoken = "canary words"
    call: ClassVar[dict[str, Any]] = {"model": "m", "messages": [{"role": "user", "content": "canary words"}]}
    reply: ClassVar[dict[str, Any]] = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "canary words"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


class TestMessages(DialectContract):
    name = "messages"
    spoken = "canary words"
    call: ClassVar[dict[str, Any]] = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "canary words"}],
    }
    reply: ClassVar[dict[str, Any]] = {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "canary words"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
