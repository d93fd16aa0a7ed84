"""What can go wrong with an expression: at load (`ExpressionSyntaxError`) and on a request (`ExpressionError`)."""


class ExpressionError(Exception):
    """The expression could not be evaluated: no such key, no such overload, overflow, division by zero ...

    The message holds names and types only, never a value of the request.
    """


class MissingError(ExpressionError):
    """Something the expression names is not there; the one failure that `default()` absorbs."""

    def __init__(self, name: str = "") -> None:
        super().__init__(f"no such key: {name}" if name else "no such key")


class ExpressionSyntaxError(ValueError):
    """The text is no expression: it does not parse, or names an unknown variable or function.

    `line` and `column` count from 1.
    """

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


class UnknownVariable(ExpressionSyntaxError):
    """The text reads a variable, `name`, that the environment does not have."""

    def __init__(self, name: str, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message, line, column)
        self.name = name
