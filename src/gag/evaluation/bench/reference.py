"""docs/bench.md: how to compare methods, and every key of bench.yaml from the fields of `config`.

`python -m gag.evaluation.bench.reference docs/bench.md` writes the page; a test compares it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gag.atomic import new_file
from gag.config import ModelConfig
from gag.evaluation.bench.config import BenchConfig
from gag.evaluation.bench.loading import bench_preset_names

_WORDS = (("NoneType", "null"), ("None", "null"), ("bool", "true or false"), ("str", "text"), ("int", "whole number"),
          ("float", "number"))  # fmt: skip
_PAGE = """\
# Compare methods

    gag bench bench.yaml --out results

builds the domains that the file names, asks every method every test question, and writes into `results/`:

- `report.html`: one file for any browser, without a network: tables, charts with intervals, the prototype map, and
  every question with every method's answer side by side.
- `results.json`: a row a number: method, domain, metric, value, ends of the 95 % interval, questions, table, data set,
  mean seconds and added tokens of an answer.
- `answers/SET/METHOD.jsonl`: every single answer, a JSON line each. `tables/` and `summary.md`: the tables as Markdown.
  `figures/`: the charts as PNG. `workspace/`: the domains that were built, a workspace like any other.

Interrupted anywhere, the same command goes on. More questions, methods or metrics keep the answers that there are;
under other training choices the old answers are put aside (`answers/SET/earlier/`) and come back when the choices do. A
question that a method fails on counts as a wrong answer and is named; a method that fails altogether is named, the
others go on, and the exit code is 1.

A method is marked as better (▲) or worse (▼) than the reference only where the interval of the paired difference,
question by question, excludes zero, and where at least six questions were drawn. Wordings of one fact (`cluster`) are
drawn together. Pairs whose field `split` is `test` are never trained on. `lora` and `raft` learn all pairs that the
expert or the projector learns, and the base writes as long answers as the others of a domain.

Costs in the main table are shares of a batch; `tables.cost` asks one question at a time, as a user does.

`--quick` takes few questions and few steps: a look at whether everything works, not numbers. `--workspace LAB` compares
in a workspace that exists: its modules are asked as they are where the file makes no other choices, its domains tested
with what the file names, `data/NAME/test.jsonl` or the pairs that synth kept for testing, and none of its files is
changed. `gag bench --preset paper-tables` alone takes the workspace one stands in. What the tables say about your case:
[Which one is best for you](evaluation.md#which-one-is-best-for-you).

## A file

```text
title: Alloys
settings: {preset: demo}             # choices of gag.yaml
domains:
  alloys:
    qa: train.jsonl                  # what the expert, the projector and lora learn
    documents: documents.jsonl       # what rag and xrag read
    test: test.jsonl
general:
  nq_open: {format: nq_open, path: NQ-open.dev.jsonl, limit: 200}
methods: [base, constant, egc, rag, xrag, lora, gag-oracle, gag]
metrics: [nll, token_f1, contains]
tables: {cost: {}, general: {}, routing: {}, depth: {}}
```

For a workspace made from documents (`gag ingest`, `gag synth`, `gag build`) this is enough, with
`gag bench compare.yaml --workspace my-lab --out results`; of pairs that synth split, those for testing are asked:

```text
domains: {adjuvant: {test: my-lab/data/adjuvant/qa.jsonl}}
methods: [base, constant, rag, gag]
metrics: [nll, token_f1, contains]
main_metric: token_f1
```

Paths are relative to the file; `data:NAME` is in the folder of `--data` (or $GAG_DATA;
[what it holds](evaluation.md#the-folder-data)), `demo:NAME` in the package's
demo. Any key can be set for one run with `--set`, those of gag.yaml under `settings`. A shipped bench goes under the
file's own choices, with `preset: NAME` in it or `--preset NAME`; a domain or general set of it that is set to `null` is
left out:

"""


def bench_markdown() -> str:
    """The whole page."""
    presets = "\n".join(f"- `{name}`: {_first_comment(name)}" for name in bench_preset_names())
    tables = "\n\n".join(_table(path, section) for path, section in _sections(BenchConfig, ""))
    return f"{_PAGE}{presets}\n\n## Keys\n\n{tables}\n"


def _sections(section: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, section
    for name, field in section.model_fields.items():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not ModelConfig:
                by_name = ".NAME" if "dict" in str(field.annotation) else ""
                yield from _sections(inner, f"{path}.{name}{by_name}".lstrip("."))


def _table(path: str, section: type[BaseModel]) -> str:
    about = " ".join((section.__doc__ or "").split())
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        key, meaning = f"{path}.{name}".lstrip("."), _cell(field.description or "")
        rows.append(f"| `{key}` | {_kind(field)} | {_default(field)} | {meaning} |")
    return f"### {f'`{path}`' if path else 'The file itself'}\n\n{about}\n\n" + "\n".join(rows)


def _kind(field: FieldInfo) -> str:
    text = re.sub(r"<class '(.*?)'>", r"\1", str(field.annotation))
    text = re.sub(r"tuple\[(\w+), \.\.\.\]", r"list of \1", text)
    text = re.sub(r"dict\[str, (?:typing\.)?Any\]", "section", text)
    text = re.sub(r"dict\[str, [\w.]+\]", "sections by name", text)
    text = re.sub(r"gag\.[\w.]+", "section", text)
    for word, said in _WORDS:
        text = re.sub(rf"\b{word}\b", said, text)
    return text.replace(" | ", " or ")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below" if not isinstance(value, ModelConfig) else f"`{_cell(value.source)}`"
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _first_comment(name: str) -> str:
    from importlib import resources

    text = (resources.files("gag") / "presets" / "bench" / f"{name}.yaml").read_text("utf-8")
    return text.splitlines()[0].removeprefix("#").strip()


def main(arguments: list[str]) -> None:
    """Write the page to the file that `arguments` names."""
    with new_file(Path(arguments[0])) as partial:
        partial.write_text(bench_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
