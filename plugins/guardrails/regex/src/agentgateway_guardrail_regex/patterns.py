"""Personal data as RE2 expressions, each with the checksum of its standard where there is one.

RE2 has no look-around, so every expression ends where a word does, and the separators of each way of writing are
spelled out: a greedy `\\d[ -]?` would swallow the number that stands beside the one we look for. A number without a
checksum needs its separators, one with a checksum does not. Nothing here matches more than `LONGEST` characters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

BuiltinName = Literal["ssn", "creditCard", "phoneNumber", "email", "caSin", "iban"]

LONGEST = 254
"""The longest match of any expression below: an e-mail address (RFC 5321 section 4.5.3.1.3)."""


def expression(pattern: str) -> Any:
    """A compiled RE2 expression. Raises ValueError with RE2's reason, which does not quote the pattern."""
    re2: Any = import_module("re2")  # 30 ms, only for who has this guard; it has no types
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        raise ValueError(error.args[0].decode("utf-8", "replace").partition(":")[0]) from None


def _digits(text: bytes) -> list[int]:
    return [byte - 48 for byte in text if 48 <= byte <= 57]


def luhn(text: bytes) -> bool:
    """ISO/IEC 7812-1 annex B: from the right, every other digit doubled, the digits' sum a multiple of ten."""
    digits = _digits(text)[::-1]
    return sum(digits[0::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0


def mod97(text: bytes) -> bool:
    """ISO 13616 (IBAN): the first four characters moved to the end, letters as 10 to 35, the remainder by 97 is 1."""
    characters = text.decode().replace(" ", "")
    return int("".join(str(int(each, 36)) for each in characters[4:] + characters[:4])) % 97 == 1


def assigned(text: bytes) -> bool:
    """Numbers the Social Security Administration never gives out: area 000, 666 and 9xx, group 00, serial 0000."""
    area, group, serial = text[:3], text[4:6], text[7:]
    return area not in (b"000", b"666") and area < b"900" and group != b"00" and serial != b"0000"


def dialled(text: bytes) -> bool:
    """As many digits as a subscriber's number has; what has fewer is rather a date (ITU-T E.164 allows fifteen)."""
    return 9 <= len(_digits(text)) <= 15


def anything(text: bytes) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Builtin:
    """A kind of data: what stands in its place, how it looks, and what must hold of a text that looks so."""

    entity: str
    pattern: str
    holds: Callable[[bytes], bool] = anything


BUILTINS: dict[str, Builtin] = {
    "ssn": Builtin("SSN", r"\b\d{3}[- .]\d{2}[- .]\d{4}\b", assigned),
    "creditCard": Builtin(
        "CREDIT_CARD",
        r"\b(?:[2-6]\d{12,18}"  # together, whatever the issuer
        r"|[2-6]\d{3}[ -]\d{4}[ -]\d{4}[ -]\d{4}"  # Visa, Mastercard, Discover, UnionPay, JCB
        r"|3\d{3}[ -]\d{6}[ -]\d{4,5})\b",  # American Express, Diners Club
        luhn,
    ),
    "phoneNumber": Builtin(
        "PHONE_NUMBER",
        r"(?:\+[1-9](?:[ .()-]{0,2}\d){7,14}"  # international
        r"|(?:\b1[ .-])?(?:\([2-9]\d{2}\) ?|\b[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}"  # US, CA
        r"|\b0\d{1,4}[ /-]\d{3,8}(?:[ -]\d{2,8})?"  # with a trunk prefix: GB, DE, IL, IN
        r"|\b[6-9]\d{4}[ -]\d{5}"  # IN, mobile
        r"|\(\d{2}\) ?9?\d{4}-\d{4})\b",  # BR
        dialled,
    ),
    "email": Builtin("EMAIL_ADDRESS", r"\b[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9.-]{1,164}\.[A-Za-z]{2,24}\b"),
    "caSin": Builtin("CA_SIN", r"\b\d{3}[- ]?\d{3}[- ]?\d{3}\b", luhn),
    "iban": Builtin("IBAN", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", mod97),
}
