"""Secrets as RE2 expressions: what vendors' keys and tokens look like, by the prefixes that they publish.

Most have no longest form, so their expressions are open at the end; each is sure of its find, and so masks it in a
stream from there on, after fewer characters than `LONGEST`. One that is not sure has an end: what is looked at again
from its second character must not be long.
"""

from collections import Counter
from math import log2
from typing import Literal

from agentgateway_guardrail_regex.patterns import Builtin

SecretName = Literal["apiKey", "jwt", "privateKey", "urlCredentials", "assignedSecret"]

LEAST_ENTROPY = 3.0
"""Bits for each character: words and repetitions have less, random texts of twenty characters about four."""


def random(text: bytes) -> bool:
    """Whether what is assigned looks drawn by lot: letters and digits, and no order in its first 128 characters."""
    value = text[max(text.find(b"="), text.find(b":")) + 1 :].strip(b" \t>=\"'")[:128]
    letters, digits = value.upper() != value.lower(), any(48 <= byte <= 57 for byte in value)
    entropy = sum(-count / len(value) * log2(count / len(value)) for count in Counter(value).values())
    return letters and digits and entropy >= LEAST_ENTROPY


API_KEYS = (
    r"sk-(?:proj|svcacct|admin)-[\w-]{20,}|sk-[A-Za-z0-9]{32,}",  # OpenAI
    r"sk-ant-[a-z0-9]{2,8}-[\w-]{20,}|sk-or-v1-[0-9a-f]{32,}",  # Anthropic, OpenRouter
    r"gsk_[A-Za-z0-9]{32,}|xai-[A-Za-z0-9]{32,}|hf_[A-Za-z0-9]{30,}",  # Groq, xAI, Hugging Face
    r"(?:AKIA|ASIA)[A-Z2-7]{16}",  # AWS
    r"AIza[\w-]{35,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{28,}",  # Google: keys, access tokens, client secrets
    r"gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}",  # GitHub, GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}",  # Slack
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}",  # Stripe
    r"npm_[A-Za-z0-9]{36,}|pypi-AgE[\w-]{50,}|dop_v1_[0-9a-f]{64}",  # npm, PyPI, DigitalOcean
    r"SG\.[\w-]{16,64}\.[\w-]{16,}|dapi[0-9a-f]{32}",  # SendGrid, Databricks
)

SECRETS: dict[str, Builtin] = {
    "privateKey": Builtin(
        "PRIVATE_KEY",  # RFC 7468, and the headers of older ones (RFC 1421); also inside JSON text
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\\nr]{0,4}Proc-Type: 4,ENCRYPTED[\s\\nr]{1,4}DEK-Info: [A-Z0-9-]{1,32},[0-9A-Fa-f]{0,64})?"
        r"(?:[A-Za-z0-9+/=]|\\[nr]|[\r\n][ \t]*)*(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
    "jwt": Builtin(
        "JWT",  # RFC 7519: the first part is JSON that begins with `alg`, `typ`, `kid`, `cty`, `enc`, `jku` or `x5…`
        r"\beyJ(?:hbGciO|0eXAiO|raWQiO|jdHkiO|lbmMiO|qa3UiO|4NX)[\w-]+(?:\.[\w-]*)*",
    ),
    "apiKey": Builtin("API_KEY", rf"\b(?:{'|'.join(API_KEYS)})"),
    "urlCredentials": Builtin("CREDENTIALS", r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@]{0,64}:[^\s/@]{1,128}@"),
    "assignedSecret": Builtin(
        "SECRET",
        r"(?i)(?:api[_-]?key|access[_-]?key|account[_-]?key|secret[_-]?key|secret|token|passw(?:or)?d|passphrase|pwd)"
        r"[\"']?[ \t]{0,4}(?::|=>?|:=)[ \t]{0,4}[\"']?[\w+/.~!@#%^&*-]{8,200}={0,2}",
        random,
    ),
}
"""In the order in which the builtin `secrets` applies them: what is in a name of its own is not merely assigned."""
