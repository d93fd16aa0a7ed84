"""Where tokens come from: google-auth knows where to look and whom to ask. It waits on files and the network, so all of
this is for threads."""

from __future__ import annotations

import logging
from datetime import UTC
from functools import partial
from importlib import import_module
from threading import Lock
from typing import Any

from agentgateway.errors import InternalError
from agentgateway.settings import Secret
from agentgateway_auth_gcp.config import described
from agentgateway_auth_gcp.tokens import GoogleToken

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
PATIENCE = 10.0
"""Seconds for one answer."""
SPEAKING = {"google": logging.INFO, "google.auth._default": logging.ERROR}
"""The lowest level of the SDK's loggers: at `debug` they tell what is sent and answered, and one warns that it found
no project, which nobody asked it for."""


class Source:
    """A credential of google-auth, made on first use."""

    def __init__(self, credential: Secret | None) -> None:
        self._credential = credential
        self._made: Any = None
        self._request: Any = None
        self._speakers: dict[str, Any] = {}
        self._lock = Lock()

    def token(self, audience: str | None) -> GoogleToken:
        """An ID token for that audience, else an access token. Raises `InternalError`, which quotes nothing."""
        from google.auth.exceptions import GoogleAuthError

        try:
            speaker = self._speaker(audience)
            speaker.refresh(self._request)
        except (GoogleAuthError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InternalError(detail=f"no Google token: {type(error).__name__}") from None
        if not speaker.token or speaker.expiry is None:
            raise InternalError(detail="no Google token: the answer has none")
        quota = None if audience else getattr(speaker, "quota_project_id", None)
        return GoogleToken(speaker.token, speaker.expiry.replace(tzinfo=UTC).timestamp(), quota)

    def forget(self, audience: str) -> None:
        with self._lock:
            self._speakers.pop(audience, None)

    def close(self) -> None:
        with self._lock:
            if self._request is not None:
                self._request.func.session.close()

    def _speaker(self, audience: str | None) -> Any:
        """Who asks for tokens of that kind."""
        with self._lock:
            if self._made is None:
                self._made, self._request = self._load()
            if audience is None:
                return self._made
            found = self._speakers.get(audience)
            if found is None:
                found = self._speakers[audience] = identified(self._made, audience, self._request)
            return found

    def _load(self) -> tuple[Any, Any]:
        for name, level in SPEAKING.items():
            logging.getLogger(name).setLevel(level)
        request = partial(of("auth.transport.requests").Request(), timeout=PATIENCE)
        if self._credential is not None:
            return given(described(self._credential)), request
        return of("auth").default(scopes=SCOPES, request=request)[0], request


def given(info: dict[str, Any]) -> Any:
    """The credential that a file describes. Raises `ValueError`, `KeyError` or google-auth's errors."""
    match info["type"]:
        case "service_account":
            return of("oauth2.service_account").Credentials.from_service_account_info(info, scopes=SCOPES)
        case "authorized_user":
            return user(info)
        case "impersonated_service_account":
            kind = of("auth.impersonated_credentials")
            return kind.Credentials.from_impersonated_service_account_info(info, scopes=SCOPES)
    source = info.get("credential_source")
    kind = of("auth.aws" if isinstance(source, dict) and "environment_id" in source else "auth.identity_pool")
    return kind.Credentials.from_info(info, scopes=SCOPES)


def user(info: dict[str, Any]) -> Any:
    """A login of `gcloud`, which keeps its own scopes, at the file's own endpoint if it names one."""
    return of("oauth2.credentials").Credentials(
        None,
        refresh_token=info["refresh_token"],
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        token_uri=info.get("token_uri") or "https://oauth2.googleapis.com/token",
        quota_project_id=info.get("quota_project_id"),
    )


def identified(credential: Any, audience: str, request: Any) -> Any:
    """The same identity, asking for ID tokens. Raises `ValueError` where it has none to give."""
    accounts, machines = of("oauth2.service_account"), of("auth.compute_engine")
    impersonated = of("auth.impersonated_credentials")
    if isinstance(credential, accounts.Credentials):
        email, place = credential.service_account_email, credential._token_uri
        return accounts.IDTokenCredentials(credential.signer, email, place, audience)
    if isinstance(credential, machines.Credentials):
        return machines.IDTokenCredentials(request, audience, use_metadata_identity_endpoint=True)
    if isinstance(credential, impersonated.Credentials):
        return impersonated.IDTokenCredentials(credential, audience, include_email=True)
    raise ValueError("such an identity has no ID tokens")


def of(name: str) -> Any:
    """A module of the SDK, whose functions have no types."""
    return import_module(f"google.{name}")
