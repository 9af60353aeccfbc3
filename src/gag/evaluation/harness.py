"""The `gag` model of lm-evaluation-harness, and that tool's command line with it registered.

    python -m gag.evaluation.harness --model gag --model_args workspace=lab,method=gag --tasks gsm8k,hellaswag

The harness has no hook for models from elsewhere, so its own command does not know `gag`; this one registers it and
then hands over. Everything else is the harness's: its tasks, options and tables.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from gag.errors import GagError, MissingExtra

MODEL = "gag"
_CLASS = "gag.evaluation.harness_model:HarnessModel"


def register() -> None:
    """Make `gag` known to the harness under that name; raises MissingExtra where the harness is not installed."""
    _harness("lm_eval.models")  # its own models first: it fills its register only while that is empty
    registry = _harness("lm_eval.api.registry").model_registry
    if MODEL not in registry:
        registry.register(MODEL, target=_CLASS)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The harness's command line with `gag` among its models; exits as it does, 2 for bad input with two lines."""
    before = sys.argv
    sys.argv = ["lm_eval", *(sys.argv[1:] if arguments is None else arguments)]
    try:
        register()
        _harness("lm_eval.__main__").cli_evaluate()
    except GagError as error:
        sys.stderr.write(f"error: {error.message}\n  {error.hint}\n")
        sys.exit(error.exit_code)
    finally:
        sys.argv = before
    sys.exit(0)


def _harness(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != "lm_eval":
            raise
        raise MissingExtra("lm-evaluation-harness is not installed.", "pip install 'gag[harness]'") from None


if __name__ == "__main__":
    main()
