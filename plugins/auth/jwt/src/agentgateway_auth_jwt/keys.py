"""A JSON Web Key Set as keys that verify (RFC 7517, RFC 7518). Imports PyJWT: import it when there is a policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
FAMILIES: Mapping[tuple[Any, Any], tuple[str, ...]] = {
    ("RSA", None): RSA_ALGORITHMS,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""Algorithms by key type and curve. Nothing symmetric: a key that everybody may read must not sign."""

PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")
MIN_RSA_BITS = 2048  # RFC 7518 section 3.3


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, and the algorithms it may be used with."""

    key: Any
    algorithms: tuple[str, ...]


Keys = Mapping[str, VerifyingKey]
"""Keys by `kid`."""


def read_keys(text: str) -> Keys:
    """The keys of a set that can verify; others (encryption, unknown curves) are passed over.

    Raises `ValueError`, which quotes nothing, when it is no key set, a `kid` is missing or twice, or no key is left.
    """
    found: dict[str, VerifyingKey] = {}
    for entry in _entries(text):
        kid = entry.get("kid")
        if not isinstance(kid, str) or not kid:
            raise ValueError("a key has no `kid`")
        key = _verifying_key(entry)
        if key is None:
            continue
        if kid in found:
            raise ValueError("two keys have the same `kid`")
        found[kid] = key
    if not found:
        raise ValueError("the set has no RSA, P-256, P-384 or Ed25519 key that can verify")
    return found


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("not a JSON Web Key Set: expected {keys: [{…}, …]}")
    return entries


def _verifying_key(entry: dict[str, Any]) -> VerifyingKey | None:
    algorithms = _algorithms(entry)
    if not algorithms:
        return None
    public = {name: entry[name] for name in PUBLIC_MEMBERS if name in entry}
    try:
        key = jwt.PyJWK(public, algorithms[0]).key
    except (jwt.PyJWTError, TypeError, ValueError):
        raise ValueError(f"a key of type {entry['kty']} is malformed") from None
    if entry["kty"] == "RSA" and key.key_size < MIN_RSA_BITS:
        return None
    return VerifyingKey(key, algorithms)


def _algorithms(entry: dict[str, Any]) -> tuple[str, ...]:
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ("verify",)):
        return ()
    kty, curve, named = entry.get("kty"), entry.get("crv"), entry.get("alg")
    if not isinstance(kty, str) or not isinstance(curve, str | None):
        return ()
    family = FAMILIES.get((kty, None if kty == "RSA" else curve), ())
    if named is None:
        return family
    return (named,) if named in family else ()
