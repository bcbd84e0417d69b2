"""The last step into every sandbox: takes on the limits and runs the code as `__main__`."""

import os
import resource
import sys


def run_code(limits: dict[str, int], code: int, ready: int) -> None:
    """Run the source in file descriptor `code`; a byte on `ready` says that everything until then went well."""
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    with open(code, "rb") as file:
        source = file.read()
    os.write(ready, b"1")
    os.close(ready)
    # A module of its own: the code shall find no name of ours among its globals.
    main = sys.modules["__main__"] = type(sys)("__main__")
    try:
        exec(compile(source, "<code>", "exec"), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        ours = error.__traceback__
        sys.excepthook(type(error), error.with_traceback(ours and ours.tb_next), None)
        sys.exit(1)
