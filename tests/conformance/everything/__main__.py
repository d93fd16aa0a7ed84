"""An MCP server that offers what the conformance suite looks for, in both eras of the protocol on one endpoint.

    python tests/conformance/everything [--port 3001] [--fault stripped-schema]…

Says `listening on http://127.0.0.1:3001/mcp` when it does; without a port the system chooses one.
"""

import argparse
import asyncio
import socket
import warnings

import uvicorn

warnings.simplefilter("ignore")  # the SDK deprecates what the older era needs

from broken import FAULTS  # noqa: E402
from server import application  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="everything")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", dest="faults", action="append", choices=[*FAULTS], default=[])
    return parser.parse_args()


async def main() -> None:
    asked = arguments()
    with socket.create_server(("127.0.0.1", asked.port)) as listener:
        app = application(asked.faults)
        server = uvicorn.Server(uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=1))
        print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
        await server.serve([listener])


asyncio.run(main())
