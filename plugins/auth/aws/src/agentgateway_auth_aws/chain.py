"""Credentials as AWS's own tools find them: environment, files, web identity, SSO, container, instance; and roles.

botocore knows where to look and whom to ask. It waits on files and the network, so all of this is for threads.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from agentgateway.errors import InternalError
from agentgateway_auth_aws.keys import Keys, forever

PATIENCE = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 2}}


def quiet() -> None:
    """Keep botocore from telling a log at level `debug` what it signs and what STS answers: both hold secrets."""
    logging.getLogger("botocore").setLevel(logging.INFO)


class Chain:
    """What botocore finds; a session is made on first use."""

    def __init__(self) -> None:
        self._session: Any = None
        self._lock = Lock()

    def session(self) -> Any:
        with self._lock:
            if self._session is None:
                from botocore.session import Session

                quiet()
                self._session = Session()
            return self._session

    def keys(self) -> Keys:
        """Raises `InternalError`."""
        from botocore.exceptions import BotoCoreError

        try:
            found = self.session().get_credentials()
            if found is None:
                raise InternalError(detail="no AWS credentials in the environment, in files or of the machine")
            frozen = found.get_frozen_credentials()
        except (BotoCoreError, OSError, ValueError) as error:
            raise InternalError(detail=f"no AWS credentials: {type(error).__name__}") from None
        needed = getattr(found, "refresh_needed", None)
        lasts = forever if needed is None else lambda seconds: not needed(refresh_in=seconds)
        return Keys(frozen.access_key, frozen.secret_key, frozen.token, lasts)


class Roles:
    """AssumeRole of AWS's Security Token Service, as whom `keys` belong to, else as whom the chain finds.

    `AWS_ENDPOINT_URL_STS` and the profile's own settings say where it is.
    """

    def __init__(self, chain: Chain, keys: Keys | None, region: str | None) -> None:
        self._chain = chain
        self._keys = keys
        self._region = region
        self._client: Any = None
        self._lock = Lock()

    def assume(self, asked: dict[str, Any]) -> Keys:
        """`asked` is what the API takes. Raises `InternalError`."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            given = self._sts().assume_role(**asked)["Credentials"]
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            raise InternalError(detail=f"the role was not given: {code}") from None
        except BotoCoreError as error:
            raise InternalError(detail=f"the role was not given: {type(error).__name__}") from None
        end: datetime = given["Expiration"]
        return Keys(
            given["AccessKeyId"],
            given["SecretAccessKey"],
            given["SessionToken"],
            lambda seconds: (end - datetime.now(UTC)).total_seconds() > seconds,
        )

    def _sts(self) -> Any:
        session = self._chain.session()
        with self._lock:
            if self._client is None:
                from botocore.config import Config

                own = self._keys
                self._client = session.create_client(
                    "sts",
                    region_name=self._region,
                    config=Config(**PATIENCE),
                    aws_access_key_id=own and own.access_key,
                    aws_secret_access_key=own and own.secret_key,
                    aws_session_token=own and own.token,
                )
            return self._client
