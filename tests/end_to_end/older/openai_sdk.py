"""What OpenAI's SDK of the major before sees through a gateway, told as JSON: `python openai_sdk.py URL MODEL…`."""

import json
import sys
from typing import Any

import openai

HELLO, WEATHER = "Say hello to Ada.", "How will the weather be in Paris? Ask get_weather."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": SCHEMA}}


def chat(client: openai.OpenAI, model: str) -> dict[str, Any]:
    def ask(text: str, **more: Any) -> Any:
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)

    whole = ask(HELLO)
    chunks = list(ask(HELLO, stream=True, stream_options={"include_usage": True}))
    called = ask(WEATHER, tools=[TOOL], tool_choice="required").choices[0]
    with client.chat.completions.stream(
        model=model, messages=[{"role": "user", "content": WEATHER}], tools=[TOOL], tool_choice="required"
    ) as stream:
        streamed = stream.get_final_completion().choices[0]
    return {
        "text": whole.choices[0].message.content,
        "usage": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
        "stop": whole.choices[0].finish_reason,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        "streamed usage": [chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens],
        "tools": [calls(called), called.finish_reason],
        "streamed tools": [calls(streamed), streamed.finish_reason],
        "error": refused(lambda: ask("Too much.")),
        "streamed error": refused(lambda: list(ask("Too much.", stream=True))),
    }


def calls(choice: Any) -> list[Any]:
    return [[one.function.name, json.loads(one.function.arguments)] for one in choice.message.tool_calls]


def responses(client: openai.OpenAI, model: str) -> dict[str, Any]:
    whole = client.responses.create(model=model, input=HELLO)
    with client.responses.stream(model=model, input=HELLO) as stream:
        streamed = stream.get_final_response()
    return {
        "text": whole.output_text,
        "usage": [whole.usage.input_tokens, whole.usage.output_tokens],
        "streamed": streamed.output_text,
        "streamed usage": [streamed.usage.input_tokens, streamed.usage.output_tokens],
        "error": refused(lambda: client.responses.create(model=model, input="Too much.")),
    }


def refused(ask: Any) -> list[Any]:
    try:
        ask()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.body["message"]]
    return ["nothing"]


def main(url: str, *models: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-of-the-client", max_retries=0, timeout=20) as client:
        told = {
            "version": openai.__version__,
            "models": sorted(one.id for one in client.models.list()),
            "chat": {model: chat(client, model) for model in models},
            "responses": {model: responses(client, model) for model in models},
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
