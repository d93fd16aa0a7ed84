"""An MCP server on standard input and output, which does whatever its client asks of it. Run as a program."""

import json
import os
import signal
import subprocess
import sys
import time

SEEN = []
HELD = {}
ASKED = {}


def write(message, ascii=True):
    sys.stdout.write(json.dumps(message, ensure_ascii=ascii) + "\n")
    sys.stdout.flush()


def answer(id, result):
    write({"jsonrpc": "2.0", "id": id, "result": result})


def tell(method, **params):
    write({"jsonrpc": "2.0", "method": method, "params": params})


def handle(message):
    method, params, id = message.get("method"), message.get("params", {}), message.get("id")
    if method is None:
        answer(ASKED.pop(id), {"client_said": message.get("result"), "error": message.get("error")})
    elif id is None:
        SEEN.append({"method": method, "params": params})
        if method == "notifications/release":
            for held, result in HELD.items():
                answer(held, result)
            HELD.clear()
    elif method == "initialize":
        if "--crash" in sys.argv:
            sys.exit(3)
        if "--refuse" in sys.argv:
            write({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "Unsupported protocol version"}})
        else:
            info = {"serverInfo": {"name": "stdio", "version": "1"}, "capabilities": {"tools": {}}, "pid": os.getpid()}
            answer(id, {"protocolVersion": params.get("protocolVersion"), **info})
    elif method == "server/discover":
        if "--sessions" in sys.argv:
            sys.exit(5)
        info = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        answer(id, {**info, "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
    elif method == "tools/list":
        answer(id, {"tools": [{"name": "me", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        answer(id, {"content": [{"type": "text", "text": str(os.getpid())}]})
    elif method == "echo":
        answer(id, params)
    elif method == "seen":
        answer(id, SEEN)
    elif method == "me":
        answer(id, {"pid": os.getpid(), "group": os.getpgid(0), "env": dict(os.environ), "cwd": os.getcwd(), "id": id})
    elif method == "open":
        answer(id, os.listdir("/proc/self/fd"))
    elif method == "hold":
        HELD[id] = {"held": params, "meta": params.get("_meta")}
        if "tell" in params:
            tell(**params["tell"])
        if "begin" in params:
            tell("notifications/progress", progressToken=params["_meta"]["progressToken"], progress=0)
    elif method == "progress":
        for number in range(params["times"]):
            tell("notifications/progress", progressToken=params["_meta"]["progressToken"], progress=number)
        answer(id, {"done": id})
    elif method == "tell":
        for note in params["notes"]:
            tell(**note)
        answer(id, {})
    elif method == "ask":
        number = 100 + len(ASKED)
        ASKED[number] = id
        write({"jsonrpc": "2.0", "id": number, "method": params["what"], "params": {}})
    elif method == "ask-later":
        ASKED[7] = params["instead"]
        both = (
            {"jsonrpc": "2.0", "id": id, "result": {}},
            {"jsonrpc": "2.0", "id": 7, "method": "roots/list", "params": {}},
        )
        os.write(1, "".join(json.dumps(one) + "\n" for one in both).encode())
    elif method == "raw":
        for piece in params["pieces"]:
            os.write(1, piece.encode("latin-1"))
            time.sleep(params.get("pause", 0))
    elif method == "bytewise":
        for byte in (json.dumps({"jsonrpc": "2.0", "id": id, "result": {"text": "häß€𝄞\n"}}) + "\n").encode():
            os.write(1, bytes([byte]))
    elif method == "huge":
        os.write(1, b'{"jsonrpc": "2.0", "id": 1, "result": "')
        for _ in range(params["megabytes"]):
            sys.stdout.write("x" * 2**20)
            sys.stdout.flush()
    elif method == "stderr":
        sys.stderr.write(params["text"])
        sys.stderr.flush()
        answer(id, {})
    elif method == "crash":
        sys.exit(params.get("code", 9))
    elif method == "mute":
        os.close(1)
        time.sleep(60)
    elif method == "deaf":
        answer(id, {})
        time.sleep(params["seconds"])
    elif method == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        answer(id, {})
        while True:
            time.sleep(60)
    elif method == "offspring":
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
        answer(id, {"pid": subprocess.Popen([sys.executable, "-c", code if params.get("stubborn") else "input()"]).pid})
    else:
        write({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}})


if "--die" in sys.argv:
    sys.stderr.write("no configuration\n")
    sys.exit(4)
for line in sys.stdin:
    message = json.loads(line)
    handle(message)
