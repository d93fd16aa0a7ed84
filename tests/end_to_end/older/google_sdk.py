"""What Google's SDK of the major before sees through a gateway, told as JSON: `python google_sdk.py URL MODEL…`."""

import json
import sys
from typing import Any

from google import genai
from google.genai import errors, types

HELLO, WEATHER = "Say hello to Ada.", "How will the weather be in Paris? Ask get_weather."
SCHEMA = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER"}}}
TOOLS: Any = types.GenerateContentConfig(
    tools=[{"function_declarations": [{"name": "get_weather", "description": "Weather.", "parameters": SCHEMA}]}],
    tool_config={"function_calling_config": {"mode": "ANY"}},
    automatic_function_calling={"disable": True},
)


def chat(client: genai.Client, model: str) -> dict[str, Any]:
    def ask(text: str, config: Any = None) -> Any:
        return client.models.generate_content(model=model, contents=text, config=config)

    def stream(text: str, config: Any = None) -> list[Any]:
        return list(client.models.generate_content_stream(model=model, contents=text, config=config))

    whole, pieces, called = ask(HELLO), stream(HELLO), ask(WEATHER, TOOLS)
    told = [one for piece in stream(WEATHER, TOOLS) for one in calls(piece)]
    return {
        "text": whole.text,
        "usage": counted(whole),
        "stop": whole.candidates[0].finish_reason.value,
        "streamed": "".join(piece.text or "" for piece in pieces),
        "streamed usage": counted(pieces[-1]),
        "tools": [calls(called), called.candidates[0].finish_reason.value],
        "streamed tools": [told, called.candidates[0].finish_reason.value],
        "error": refused(lambda: ask("Too much.")),
        "streamed error": refused(lambda: stream("Too much.")),
    }


def counted(reply: Any) -> list[int]:
    usage = reply.usage_metadata
    return [usage.prompt_token_count, usage.candidates_token_count]


def calls(reply: Any) -> list[Any]:
    return [[one.name, one.args] for one in reply.function_calls or ()]


def refused(ask: Any) -> list[Any]:
    try:
        ask()
    except errors.APIError as error:
        return [type(error).__name__, error.code, error.message]
    return ["nothing"]


def main(url: str, *models: str) -> None:
    options = types.HttpOptions(base_url=url, timeout=20_000)
    client = genai.Client(api_key="sk-of-the-client", http_options=options)
    told = {
        "version": genai.__version__,
        "models": sorted((one.name or "").removeprefix("models/") for one in client.models.list()),
        "chat": {model: chat(client, model) for model in models},
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
