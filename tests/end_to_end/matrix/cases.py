"""What the calls of the matrix are about, in no vendor's words. Each case has a transcript in each dialect."""

from dataclasses import dataclass

from .facts import Asked, Counts, Seen


@dataclass(frozen=True)
class Case:
    """`asked` and `seen` are the facts of the transcripts. `request` names the transcript that the client's call is
    taken from, when it is another one.

    The simulator answers the same, but for `counted` tokens (`unlinked`, where pictures must be sent along), and for
    what is `spoken` beside tool calls. `directive` makes it fail; `further` is what it would say then, were it not to
    break off.
    """

    asked: Asked
    seen: Seen
    counted: Counts | None = None
    unlinked: Counts | None = None
    spoken: str | None = None
    directive: str = ""
    further: str = ""
    request: str = ""


WEATHER = (
    "get_weather",
    "The weather of a city in the next days.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Paris", "Oslo"]},
            "days": {"type": "integer", "enum": [3]},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    },
)
CLOCK = (
    "get_time",
    "The time in a time zone.",
    {"type": "object", "properties": {"zone": {"type": "string", "enum": ["Europe/Paris"]}}, "required": ["zone"]},
)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "enum": ["Ada"]}, "age": {"type": "integer", "enum": [36]}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKMSAwIG9iajw8L1R5cGUvQ2F0YWxvZz4+ZW5kb2JqCnRyYWlsZXI8PC9Sb290IDEgMCBSPj4KJSVFT0YK"
PARIS = ("get_weather", {"city": "Paris", "days": 3})
NOON = ("get_time", {"zone": "Europe/Paris"})
HELLO = Asked((("user", "Say hello to Ada."),), system="Be brief.", temperature=0.5, stop=("END",))
TOO_LONG = "The prompt is too long: 300001 tokens, the most is 200000."
SPENT = "Rate limit reached: 60 requests a minute."
OVERLOADED = "The engine is currently overloaded, please try again later."
CUT = "the upstream's answer was cut short"

CASES = {
    "text": Case(
        HELLO,
        Seen("Hello Ada ☕, schön dich zu sehen.", usage=Counts(120, 9, read=64, written=16)),
        counted=Counts(6, 7, read=4),
        directive="cached=4",
    ),
    "length": Case(
        Asked((("user", "Tell me a story."),), limit=3),
        Seen("Once upon a", stop="length", usage=Counts(11, 3)),
        counted=Counts(4, 3),
        further=" time",
    ),
    "tools": Case(
        Asked((("user", "How will the weather be in Paris? Ask get_weather."),), tools=(WEATHER,), choice="required"),
        Seen(calls=(PARIS,), stop="tool_calls", usage=Counts(90, 18)),
        counted=Counts(40, 5),
    ),
    "parallel-tools": Case(
        Asked(
            (
                ("user", "Weather in Oslo, and the time in Paris?"),
                ("call", "call_1", "get_weather", '{"city": "Oslo", "days": 3}'),
                ("call", "call_2", "get_time", '{"zone": "Europe/Paris"}'),
                ("result", "call_1", "Snow."),
                ("result", "call_2", "12:00"),
                ("user", "And in Paris? Ask get_weather and get_time again."),
            ),
            tools=(WEATHER, CLOCK),
            choice="auto",
            parallel=True,
        ),
        Seen("I ask both.", calls=(PARIS, NOON), stop="tool_calls", usage=Counts(150, 40, read=100)),
        counted=Counts(76, 9),
        spoken="",
    ),
    "image": Case(
        Asked(
            (
                ("user", "Who is in these pictures?"),
                ("image", f"data:image/png;base64,{PIXEL}"),
                ("image", "https://pictures.example/ada.jpg"),
            )
        ),
        Seen("Ada and a cat.", usage=Counts(800, 6)),
        counted=Counts(175, 4),
        unlinked=Counts(90, 4),
    ),
    "document": Case(
        Asked((("document", "report.pdf", f"data:application/pdf;base64,{PDF}"), ("user", "What does it say?"))),
        Seen("It is empty.", usage=Counts(900, 4)),
        counted=Counts(254, 3),
    ),
    "reasoning": Case(
        Asked((("user", "What is the answer?"),), limit=6000, effort="medium"),
        Seen(
            "42, of course.",
            thinking="The user wrote 4 words. I shall answer.",
            signature="EqQBCkYIBxgCKkBnYXRld2F5LW1hdHJpeC1zaWduYXR1cmU=",
            usage=Counts(12, 30, reasoning=22),
        ),
        counted=Counts(4, 11, reasoning=8),
    ),
    "structured-output": Case(
        Asked((("user", "Who wrote the first program?"),), schema=PERSON),
        Seen('{"name": "Ada", "age": 36}', usage=Counts(60, 11)),
        counted=Counts(5, 4),
    ),
    "error": Case(HELLO, Seen(error=TOO_LONG), directive="error=400", request="text"),
    "rate-limit": Case(HELLO, Seen(error=SPENT), directive="error=429,retry-after=7s", request="text"),
    "overloaded": Case(
        HELLO,
        Seen("Hello Ada", error=OVERLOADED, stop=None),
        directive="error={busy},after=2",
        further=" and more",
        request="text",
    ),
    "disconnect": Case(
        HELLO,
        Seen("Hello Ada", error=CUT, stop=None),
        directive="disconnect,after=2",
        further=" and more",
        request="text",
    ),
}
