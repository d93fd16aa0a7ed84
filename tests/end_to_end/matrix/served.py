"""The gateway of the matrix, and failures that are told together."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from .cases import CASES, Case
from .facts import Json
from .vendors import KEY, VENDORS, Vendor


def configuration(address: str) -> str:
    """One model for each provider; the simulator is no upstream, so what it has to do in each case stands here."""
    models = [model(vendor, address) for vendor in VENDORS if not vendor.simulated]
    models += [simulated(vendor, *case) for vendor in VENDORS if vendor.simulated for case in CASES.items()]
    return f"""
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
frontendPolicies: {{accessLog: {{add: {{case: 'request.headers["x-case"]'}}}}}}
llm: {json.dumps({"gateways": "default", "models": models})}
"""


def model(vendor: Vendor, address: str) -> Json:
    params = {"apiKey": KEY, "hostOverride": address, "model": vendor.model}
    return {"name": f"{vendor.name}/*", "provider": vendor.provider, "params": params}


def simulated(vendor: Vendor, name: str, case: Case) -> Json:
    ((kind, settings),) = vendor.provider.items()
    provider = {kind: settings | {"reply": case.seen.text + case.further}}
    params = {"model": vendor.model + case.directive.format(busy=vendor.dialect.busy)}
    return {"name": f"{vendor.name}/{name}", "provider": provider, "params": params}


@contextmanager
def collected(what: str) -> Iterator[Callable[[object], AbstractContextManager[None]]]:
    """One failure after another, all of which are told in the end, each with its call."""
    failures: list[Exception] = []

    @contextmanager
    def attempt(call: object) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            error.add_note(str(call))
            failures.append(error)

    yield attempt
    if failures:
        raise ExceptionGroup(f"{what}: {len(failures)} calls", failures)
