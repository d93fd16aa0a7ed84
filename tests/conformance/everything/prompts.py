"""The prompts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import contents
from calls import Call
from questions import STRING, form, named

Messages = list[dict[str, Any]]
Serve = Callable[[Call], Awaitable[Messages]]


@dataclass(frozen=True)
class Prompt:
    """`arguments` are described by name; all are required."""

    name: str
    description: str
    serve: Serve
    arguments: dict[str, str]

    def listed(self) -> dict[str, Any]:
        arguments = [{"name": name, "description": said, "required": True} for name, said in self.arguments.items()]
        return {"name": self.name, "description": self.description, "arguments": arguments}


PROMPTS: dict[str, Prompt] = {}


def prompt(description: str, **arguments: str) -> Callable[[Serve], Serve]:
    """Offer a function as a prompt of its name."""

    def offer(serve: Serve) -> Serve:
        PROMPTS[serve.__name__] = Prompt(serve.__name__, description, serve, arguments)
        return serve

    return offer


def _user(content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": content}


@prompt("A sentence.")
async def test_simple_prompt(call: Call) -> Messages:
    return [_user(contents.text("This is a simple prompt for testing."))]


@prompt("A sentence with two words of yours.", arg1="First test argument", arg2="Second test argument")
async def test_prompt_with_arguments(call: Call) -> Messages:
    first, second = call.arguments["arg1"], call.arguments["arg2"]
    return [_user(contents.text(f"Prompt with arguments: arg1='{first}', arg2='{second}'"))]


@prompt("A resource, and what to do with it.", resourceUri="URI of the resource to embed")
async def test_prompt_with_embedded_resource(call: Call) -> Messages:
    embedded = contents.resource(call.arguments["resourceUri"], "Embedded resource content for testing.")
    return [_user(embedded), _user(contents.text("Please process the embedded resource above."))]


@prompt("An image, and what to do with it.")
async def test_prompt_with_image(call: Call) -> Messages:
    return [_user(contents.image()), _user(contents.text("Please analyze the image above."))]


@prompt("Asks what it is about.")
async def test_input_required_result_prompt(call: Call) -> Messages:
    answers = await call.ask({"user_context": form("What context should the prompt use?", context=STRING)})
    return [_user(contents.text(f"The context is {named(answers['user_context'], 'context')}."))]
