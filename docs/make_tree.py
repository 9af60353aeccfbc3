"""Write docs/tree.md: one line a file of src/gag, from the files' own first lines.

python docs/make_tree.py
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "gag"
PAGE = Path(__file__).resolve().parent / "tree.md"
OTHERS = {
    "py.typed": "the package carries its types",
    "demo/general.jsonl": "general questions for the general route",
    "demo/labs": "documents, training pairs and test questions of both labs",
    "pretrained": "projectors that learnt to let any background through, named by what they were made from",
    "evaluation/report/script.js": "the report's tables, filters and questions",
    "evaluation/report/style.css": "the report's looks, light and dark",
    "evaluation/report/template.html": "the report's page",
}
"""What cannot say itself what it is."""
WIDTH = 30


def tree() -> str:
    """The page's text."""
    lines = ["src/gag/", *_lines(SOURCE, 1)]
    return (
        "# The tree\n\nOne line a file, from the file's own first line (`make docs` writes this page).\n\n"
        "```text\n" + "\n".join(lines) + "\n```\n"
    )


def _lines(folder: Path, depth: int) -> list[str]:
    out = []
    entries = [e for e in folder.iterdir() if e.name != "__pycache__" and not e.name.startswith(".")]
    for entry in sorted(entries, key=lambda e: (e.is_dir(), e.name)):
        name = "  " * depth + entry.name + ("/" if entry.is_dir() else "")
        said = OTHERS.get(entry.relative_to(SOURCE).as_posix())
        if entry.is_dir() and said is None:
            out += [name, *_lines(entry, depth + 1)]
        else:
            out.append(f"{name:{WIDTH}} {said or _first_sentence(entry)}")
    return out


def _first_sentence(path: Path) -> str:
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    else:
        text = "\n".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    paragraph = " ".join(text.split("\n\n")[0].split())
    said = re.split(r"(?<=[^.A-Z])\.(?:\s|$)", paragraph)[0]
    if not said:
        raise SystemExit(f"{path} does not say what it is in its first line")
    return re.sub(r"\s*\(paper.*\)", "", said)


if __name__ == "__main__":
    PAGE.write_text(tree(), encoding="utf-8")
