"""Configuration files that are made for a run: the gateway's with a second, encrypted port, and nginx's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).parent
BASE = HERE / "conf" / "agentgateway.yaml"

NGINX = """\
# What `proxy_pass` costs, with connections to the upstream kept alive: one process, nothing logged, nothing else done.
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_max_body_size 16m;
    client_body_buffer_size 1m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{secure_port} ssl backlog=4096;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 (P-256) and its key, as PEM files."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not cert.exists():
        import trustme

        folder.mkdir(parents=True, exist_ok=True)
        issued = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
    return cert, key


def gateway(
    file: Path, *, upstream: int, port: int, secure_port: int | None, edge: bool, workers: int = 1, guard: Any = None
) -> Path:
    """The benchmarks' own configuration, with its numbers in it and perhaps a second port with TLS."""
    document: dict[str, Any] = YAML(typ="safe").load(BASE)
    document["config"] |= {"server": {"edge": edge}, "workers": workers}
    gateways: dict[str, Any] = {"default": {"port": port, "address": "127.0.0.1"}}
    if secure_port is not None:
        cert, key = certificate(file.parent / "tls")
        tls = {"cert": str(cert), "key": str(key)}
        gateways["secure"] = {"port": secure_port, "address": "127.0.0.1", "tls": tls}
    document["gateways"] = gateways
    document["llm"]["gateways"] = list(gateways)
    document["llm"]["models"][0]["params"]["hostOverride"] = f"127.0.0.1:{upstream}"
    if guard is not None:
        document["llm"]["policies"]["promptGuard"] = guard
    file.write_text(json.dumps(document, indent=1))
    return file


def nginx(folder: Path, *, upstream: int, port: int, secure_port: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = certificate(folder.parent / "tls")
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(upstream=upstream, port=port, secure_port=secure_port, cert=cert, key=key))
    return file
