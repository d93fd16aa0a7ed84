"""Signing (RFC 7515, RFC 7518). Imports PyJWT and cryptography: import it when there is a credential."""

from __future__ import annotations

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic_core import from_json

from agentgateway.errors import ConfigError
from agentgateway.settings import Secret
from agentgateway_auth_jwtsign.config import JwtSignConfig

Key = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
MIN_RSA_BITS = 2048  # RFC 7518 section 3.3


class Signer:
    """Signs claims. Takes about a millisecond of a processor with RSA: for threads."""

    __slots__ = ("_alg", "_head", "_key", "_ttl")

    def __init__(self, config: JwtSignConfig, at: str) -> None:
        """Raises `ConfigError`, which quotes nothing."""
        self._key = read_key(config.signing_key, config.alg, f"{at}.signingKey")
        self._alg = config.alg
        self._head = None if config.kid is None else {"kid": config.kid}
        self._ttl = round(config.ttl)

    def __repr__(self) -> str:
        return f"<Signer {self._alg}>"

    def sign(self, claims: bytes, now: int) -> Secret:
        """The claims, a JSON object, as a token from that second of the epoch on. Raises `TypeError` or `ValueError`
        for claims that no token may have."""
        said = {**from_json(claims), "iat": now, "exp": now + self._ttl}
        return Secret(jwt.encode(said, self._key, self._alg, self._head))


def read_key(secret: Secret, alg: str, at: str) -> Key:
    try:
        key = load_pem_private_key(secret.reveal().encode(), password=None)
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        hint = "PEM, unencrypted: -----BEGIN PRIVATE KEY-----"
        raise ConfigError(f"not a private key that can be read ({type(error).__name__})", path=at, hint=hint) from None
    if isinstance(key, RSAPrivateKey) and alg.startswith(("RS", "PS")):
        if key.key_size < MIN_RSA_BITS:
            raise ConfigError(f"the key is too short: RSA needs {MIN_RSA_BITS} bits", path=at)
        return key
    if isinstance(key, EllipticCurvePrivateKey) and CURVES.get(alg) == key.curve.name:
        return key
    if isinstance(key, Ed25519PrivateKey) and alg == "EdDSA":
        return key
    raise ConfigError(f"the key is of another kind than `{alg}` needs", path=at, hint="set `alg` to the key's own")
