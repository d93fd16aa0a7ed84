"""An issuer for tests: keys of each kind, the key set that publishes them, tokens signed with them."""

import json
import time
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.test"


@dataclass
class KeyPair:
    kid: str
    private: Any
    algorithm: str

    def jwk(self, **members: Any) -> dict[str, Any]:
        writer = {"R": RSAAlgorithm, "P": RSAAlgorithm}.get(self.algorithm[0])
        writer = writer or (ECAlgorithm if self.algorithm.startswith("ES") else OKPAlgorithm)
        public = writer.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, **members}

    def token(self, *, algorithm: str | None = None, kid: str | None = "", **claims: Any) -> str:
        payload = {"iss": ISSUER, "sub": "ada", "exp": int(time.time()) + 600, **claims}
        payload = {name: value for name, value in payload.items() if value is not None}
        headers = {} if kid is None else {"kid": kid or self.kid}
        return jwt.encode(payload, self.private, algorithm or self.algorithm, headers)


def key_set(*entries: Any) -> str:
    return json.dumps({"keys": [entry.jwk() if isinstance(entry, KeyPair) else entry for entry in entries]})


@pytest.fixture(scope="session")
def rsa_pair() -> KeyPair:
    return KeyPair("rsa-1", rsa.generate_private_key(65537, 2048), "RS256")


@pytest.fixture(scope="session")
def other_rsa_pair() -> KeyPair:
    return KeyPair("rsa-2", rsa.generate_private_key(65537, 2048), "RS256")


@pytest.fixture(scope="session")
def p256_pair() -> KeyPair:
    return KeyPair("p256", ec.generate_private_key(ec.SECP256R1()), "ES256")


@pytest.fixture(scope="session")
def p384_pair() -> KeyPair:
    return KeyPair("p384", ec.generate_private_key(ec.SECP384R1()), "ES384")


@pytest.fixture(scope="session")
def ed25519_pair() -> KeyPair:
    return KeyPair("ed", ed25519.Ed25519PrivateKey.generate(), "EdDSA")


@pytest.fixture(scope="session")
def publish():
    return key_set
