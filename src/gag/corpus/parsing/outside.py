"""Parsers with models of their own, installed by the user: docling and MinerU. Both run here, neither phones home."""

from __future__ import annotations

import os
import subprocess
import tempfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gag.corpus.parsing.blocks import Parsed
from gag.corpus.parsing.errors import ParseError
from gag.corpus.parsing.markdown import markdown_blocks
from gag.corpus.parsing.mineru import SUFFIXES, parse_mineru

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "ANONYMIZED_TELEMETRY": "false",
    "MINERU_MODEL_SOURCE": "local",
    "MODELSCOPE_OFFLINE": "1",
}
"""What keeps them and the libraries below them off the network."""


def parse_by_docling(path: Path) -> Parsed:
    """A file's blocks by docling, with the models it has already; raises ParseError."""
    converter: Any = import_module("docling.document_converter").DocumentConverter()
    try:
        text = converter.convert(str(path)).document.export_to_markdown()
    except MemoryError:
        raise
    except Exception as error:
        raise ParseError(f"docling could not read it ({_said(error)})") from None
    return Parsed("docling", version("docling"), markdown_blocks(str(text)))


def parse_by_mineru(path: Path) -> Parsed:
    """A PDF file's blocks by the command `mineru`, with the models it has already; raises ParseError."""
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            ["mineru", "-p", str(path), "-o", folder, "-b", "pipeline"],
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **OFFLINE},
            check=False,
        )
        files = [file for suffix in SUFFIXES for file in sorted(Path(folder).rglob(f"*{suffix}"))]
        if ran.returncode or not files:
            last = (ran.stderr or ran.stdout).strip().splitlines()[-1:] or ["it wrote nothing"]
            raise ParseError(f"mineru could not read it ({last[0][:160]})")
        parsed = parse_mineru(files[0])
    try:
        found = version("mineru")
    except PackageNotFoundError:
        found = "unknown"
    return Parsed("mineru", found, parsed.blocks, parsed.title, parsed.pages)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
