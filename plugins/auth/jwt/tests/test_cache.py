"""What is remembered of verified tokens."""

from agentgateway_auth_jwt.cache import LONGEST, VerifiedTokens, token_digest

NOW = 1_000_000.0
A, B, C = (token_digest(name) for name in "abc")


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def tokens(size: int = 10) -> tuple[VerifiedTokens, Clock]:
    clock = Clock()
    return VerifiedTokens(size, clock), clock


def test_a_token_is_remembered():
    cache, _ = tokens()
    added = cache.add(A, {"sub": "ada", "exp": NOW + 60})
    assert cache.get(A) is added
    assert (added.subject, added.claims["sub"]) == ("ada", "ada")
    assert cache.get(B) is None


def test_a_token_is_forgotten_when_it_expires():
    cache, clock = tokens()
    cache.add(A, {"exp": NOW + 60})
    clock.now += 60
    assert cache.get(A) is None
    assert len(cache) == 0


def test_a_token_is_forgotten_after_a_while_however_long_it_lives():
    for claims in ({"exp": NOW + 86_400}, {}):
        cache, clock = tokens()
        cache.add(A, claims)
        clock.now += LONGEST - 1
        assert cache.get(A) is not None
        clock.now += 1
        assert cache.get(A) is None


def test_a_token_past_its_expiry_is_not_remembered_though_it_holds_for_the_leeway():
    cache, _ = tokens()
    assert cache.add(A, {"exp": NOW - 10}).claims["exp"] == NOW - 10
    assert len(cache) == 0


def test_the_least_recently_used_token_leaves_first():
    cache, _ = tokens(2)
    cache.add(A, {})
    cache.add(B, {})
    cache.get(A)
    cache.add(C, {})
    assert len(cache) == 2
    assert cache.get(B) is None
    assert cache.get(A) is not None


def test_nothing_is_left_after_clearing():
    cache, _ = tokens()
    cache.add(A, {})
    cache.clear()
    assert cache.get(A) is None


def test_a_digest_is_of_the_whole_token():
    start = "x" * 5000
    assert token_digest(start + "a") != token_digest(start + "b")
    assert token_digest("a" + start) != token_digest("b" + start)
    assert len(A) == 32
