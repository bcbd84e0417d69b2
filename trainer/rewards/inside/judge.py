"""The tests' side: runs the tests of a row against code in another process, and tells of each test how it ended."""

import builtins
import json
import os

TYPE_CHECKING = False  # `typing` takes long to import; and in the sandbox the names are already there
if TYPE_CHECKING:
    from typing import Any

    from trainer.rewards.inside.calls import Gone, RemoteError, Wire


def run_tests(channel: int, prelude: str, tests: str, function: str) -> None:
    """Run the tests and tell, a line of JSON each, [what, how]:

    the number of a test and how it failed, or ""; "code" and why it does not load; "tests" and what stopped them
    between two tests; "import" and what they need that the sandbox has not. Where the code has ended, how is "gone".
    """
    tell = Teller()
    wire = Wire(channel, obeys=False)
    try:
        theirs = names_of_the_code(wire)
    except (Gone, Exception) as error:
        tell("code", "gone" if wire.gone else described(error))
        return
    names = {**theirs, "__name__": "tests"}
    try:
        exec(compile(prelude, "<prompt>", "exec"), names)
        # The prompt's helpers are to be trusted more than the code's of the same name; its stub of the function is not.
        names["__test__"] = lambda number: Test(wire, tell, number)
        if function in theirs:
            names["candidate"] = names[function] = theirs[function]
        exec(compile(tests, "<tests>", "exec"), names)
    except (Gone, Exception) as error:
        missing = isinstance(error, ImportError) and not isinstance(error.__cause__, RemoteError)
        tell("import" if missing else "tests", "gone" if wire.gone else described(error))


def names_of_the_code(wire: "Wire") -> "dict[str, Any]":
    """The code's globals, but none that would take the place of a built-in function, or of all of them, in the tests."""
    names = wire.ask("call", 0)
    return {name: value for name, value in names.items() if not (name.startswith("__") or hasattr(builtins, name))}


class Test:
    """The frame around one test: notes how it ended and goes on."""

    def __init__(self, wire: "Wire", tell: "Teller", number: int) -> None:
        self._wire, self._tell, self._number = wire, tell, number

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        # Once the code has ended nothing that the tests see is its work.
        self._tell(self._number, "gone" if self._wire.gone else described(error))
        return True


class Teller:
    """Writes to the standard output that this process began with; what tests print goes nowhere."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        nowhere = os.open("/dev/null", os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)

    def __call__(self, what: object, how: str) -> None:
        os.write(self._out, json.dumps([what, how]).encode() + b"\n")


def described(error: BaseException | None) -> str:
    if error is None:
        return ""
    text = str(error) if isinstance(error, RemoteError) else f"{type(error).__name__}: {error}"
    return text[:300].removesuffix(": ")
