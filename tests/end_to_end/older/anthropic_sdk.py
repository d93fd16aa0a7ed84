"""What Anthropic's SDK of the major before sees through a gateway, as JSON: `python anthropic_sdk.py URL MODEL…`."""

import json
import sys
from typing import Any

import anthropic

HELLO, WEATHER = "Say hello to Ada.", "How will the weather be in Paris? Ask get_weather."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS: dict[str, Any] = {
    "tools": [{"name": "get_weather", "description": "Weather.", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any"},
}


def chat(client: anthropic.Anthropic, model: str) -> dict[str, Any]:
    def asking(text: str, **more: Any) -> Any:
        return {"model": model, "max_tokens": 300, "messages": [{"role": "user", "content": text}], **more}

    whole = client.messages.create(**asking(HELLO))
    called = client.messages.create(**asking(WEATHER, **TOOLS))
    with client.messages.stream(**asking(HELLO)) as stream:
        pieces = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    with client.messages.stream(**asking(WEATHER, **TOOLS)) as stream:
        told = stream.get_final_message()
    return {
        "text": whole.content[0].text,
        "usage": counted(whole),
        "stop": whole.stop_reason,
        "streamed": pieces,
        "streamed usage": counted(streamed),
        "tools": [calls(called), called.stop_reason],
        "streamed tools": [calls(told), told.stop_reason],
        "error": refused(lambda: client.messages.create(**asking("Too much."))),
        "streamed error": refused(lambda: list(client.messages.create(**asking("Too much.", stream=True)))),
    }


def counted(message: Any) -> list[int]:
    usage = message.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return [usage.input_tokens + cached, usage.output_tokens]


def calls(message: Any) -> list[Any]:
    return [[block.name, block.input] for block in message.content if block.type == "tool_use"]


def refused(ask: Any) -> list[Any]:
    try:
        ask()
    except anthropic.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.body["error"]["message"]]
    return ["nothing"]


def main(url: str, *models: str) -> None:
    with anthropic.Anthropic(base_url=url, api_key="sk-of-the-client", max_retries=0, timeout=20) as client:
        told = {
            "version": anthropic.__version__,
            "models": sorted(one.id for one in client.models.list()),
            "chat": {model: chat(client, model) for model in models},
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
