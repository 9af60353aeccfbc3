"""What a comparison leaves in its folder: results.json, Markdown tables, the report, small PNGs, the resolved file."""

from __future__ import annotations

import yaml

from gag.atomic import disk_errors, new_file
from gag.domain import load_module
from gag.errors import DomainError
from gag.evaluation.bench.config import BenchConfig
from gag.evaluation.bench.found import Found
from gag.evaluation.bench.place import Place, keeps_modules
from gag.evaluation.bench.views import findings, group_note, markdown, problem_lines, views
from gag.evaluation.report.page import write_report
from gag.evaluation.report.pngs import write_pngs
from gag.evaluation.table import write_results
from gag.models.device import choose_device
from gag.steps import code_version

RETRIEVING = frozenset({"rag", "xrag", "gag+rag", "gag-or-rag", "lora+rag", "raft"})
"""The methods of this package that search passages."""
REPORT, RESULTS, RESOLVED, SUMMARY = "report.html", "results.json", "bench.yaml", "summary.md"


def write_found(place: Place, found: Found) -> None:
    """Write everything, each file atomically; raises MissingExtra without jinja2, RunError for the disk's errors."""
    out, config = place.out, place.config
    with new_file(out / RESOLVED) as partial:
        text = yaml.safe_dump(
            config.model_dump(mode="json", exclude={"preset"}, exclude_defaults=True),
            sort_keys=False,
            allow_unicode=True,
        )
        partial.write_text(f"# What gag bench {code_version()} ran, every path resolved.\n{text}", encoding="utf-8")
    with disk_errors(f"{out} could not be written"):
        write_results(out / RESULTS, found.rows)
        for old in (out / "tables").glob("*.md"):
            old.unlink()
    for view in views(config, found):
        with new_file(out / "tables" / f"{view.slug}.md") as partial:
            partial.write_text(markdown(view), encoding="utf-8")
    with new_file(out / SUMMARY) as partial:
        partial.write_text(summary(config, found), encoding="utf-8")
    write_pngs(out / "figures", config, found)
    write_report(out / REPORT, config, found, facts(place, found))


def summary(config: BenchConfig, found: Found) -> str:
    """All tables in one Markdown text, what they say first and what failed last."""
    parts = [f"# {config.title}\n", *(f"- {line}" for line in findings(config, found)), ""]
    group = ""
    for view in views(config, found):
        if view.group != group:
            group = view.group
            parts.append(f"## {group.capitalize()}\n\n{group_note(group, config)}\n")
        parts.append(markdown(view))
    if found.problems:
        parts += ["## What failed\n", *(f"- {line}" for line in problem_lines(found.problems)), ""]
    return "\n".join(parts)


def facts(place: Place, found: Found) -> list[tuple[str, str]]:
    """What a reader has to know of the run: models, retrieval, how many questions, how long."""
    models, config = place.workspace.config.models, place.config
    retrieval = place.workspace.config.retrieval
    counts = [len(part.questions) for part in place.domains.values()]
    general = [len(part.questions) for part in place.general.values()]
    out = [
        ("Base", models.base.source),
        ("Expert", models.expert.source),
        ("Router", models.encoder.source),
    ]
    if config.workspace is not None:
        out.append(("Modules", _modules(place)))
    if any(method in RETRIEVING for method in config.methods):
        how = (
            f"token embeddings of {models.encoder.source}, as no ColBERT checkpoint is configured"
            if retrieval.encoder is None
            else retrieval.encoder.source
        )
        out.append(("Retrieval", how))
    said = f"{sum(counts)} in {len(counts)} domain{'s' * (len(counts) != 1)}"
    out.append(("Questions", said + (f", {sum(general)} general" if general else "")))
    if "bertscore" in {*config.metrics, *(m for domain in config.domains.values() for m in domain.metrics)}:
        out.append(("BERTScore", f"{config.judge.encoder.source}, layer {config.judge.layer}"))
    out.append(("Device", str(choose_device(models.base.device))))
    out.append(("This run took", duration(found.seconds)))
    return out


def _modules(place: Place) -> str:
    """Whether the given workspace's own modules were asked, and which of them write as gag.yaml does not say now."""
    if not keeps_modules(place.config, place.workspace):
        return "built for this comparison, whose choices are not those of the workspace's own modules"
    said = "the workspace's own, as they are"
    for name in place.domains:
        now = place.workspace.config.of(name).generation
        try:
            built = load_module(place.workspace.module(name)).generation
        except DomainError as error:
            said += f"; that of {name} cannot be used ({error.message})"
            continue
        if built != now:
            lengths = f"{built.max_new_tokens} tokens at most, other methods {now.max_new_tokens}"
            said += f"; {name} answers as it was built ({lengths}): gag build {name} takes gag.yaml's choices"
    return said


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"
