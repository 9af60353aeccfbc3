"""A process that parses, a file at a time: JSON in, JSON out, a line each (python -m gag.corpus.parsing.worker).

Others' parsers run here, so that one that hangs, crashes or eats memory takes no more than this process with it.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.parse import ParseOptions, parse


def main() -> int:
    """Answer requests until stdin ends; nothing but answers goes to what was stdout."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        if not os.environ.get("GAG_DEBUG"):
            os.dup2(nowhere.fileno(), 2)
    _limit_memory(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
    for line in sys.stdin:
        _answer(answers, json.loads(line))
    return 0


def _answer(answers: IO[str], request: dict[str, Any]) -> None:
    try:
        parsed = parse(Path(request["path"]), request["kind"], ParseOptions(**request["options"]))
        answer: dict[str, Any] = {"parsed": parsed.to_json()}
    except ParseError as error:
        answer = {"reason": error.reason, "scanned": error.scanned}
    except MemoryError:
        answer = {"reason": "needs more memory than corpus.parse_memory_gb"}
    except RecursionError:
        answer = {"reason": "nested too deeply"}
    except OSError as error:
        answer = {"reason": f"could not be read: {error.strerror or error}"}
    except Exception as error:  # whatever another's parser raises for a file that it does not understand
        answer = {"reason": f"its parser failed ({type(error).__name__}: {' '.join(str(error).split())[:160]})"}
    answers.write(json.dumps(answer).replace("\n", " ") + "\n")
    answers.flush()


def _limit_memory(gigabytes: float) -> None:
    """Bound what this process may write to; where the system has no such bound, the pool's watch on its size is all."""
    if gigabytes <= 0:
        return
    with suppress(ImportError, OSError, ValueError, AttributeError):
        import resource

        most = int(gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    sys.exit(main())
