"""The client that the suite starts for each scenario: it has one that runs already, and knows everything, do the work.

Nothing is imported here that takes long: the suite starts dozens of these at once.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as there:
    there.connect(sys.argv[1])
    given = {name: value for name, value in os.environ.items() if name.startswith("MCP_CONFORMANCE_")}
    there.sendall(json.dumps({"url": sys.argv[-1], **given}).encode() + b"\n")
    said = there.makefile("rb").read()
*lines, code = said.decode().splitlines()
print(*lines, sep="\n")
sys.exit(int(code))
