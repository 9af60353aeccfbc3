"""Other libraries' warnings, logs and progress bars, kept off the user's terminal in the command-line process only."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SETTINGS = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "DATASETS_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
LOGGERS = ("accelerate", "datasets", "peft", "transformers", "trl", "torch", "matplotlib")


@contextmanager
def third_parties_quiet() -> Iterator[None]:
    """Silence them, unless GAG_DEBUG, PYTHONWARNINGS or a setting of their own says otherwise.

    Download bars of the hub stay on a terminal: a model's gigabytes should be seen coming.
    """
    debug = os.environ.get("GAG_DEBUG", "") not in ("", "0")
    if debug:
        yield
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
