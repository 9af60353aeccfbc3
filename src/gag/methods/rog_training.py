"""Training of `rog`: planning and reasoning together, one LoRA adapter over the small model, on one graph's questions.

The step's folder is named by the hash of all it depends on; `runs/GRAPH/rog.json` says which one answers now.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gag.atomic import new_file
from gag.config import ExpertConfig, RogConfig
from gag.errors import InputError, RunError
from gag.graph.examples import label_questions, training_rows
from gag.graph.planning import INSTRUCTION as PLANNING
from gag.graph.planning import Speller
from gag.graph.reasoning import INSTRUCTION as REASONING
from gag.graph.store import Graph, GraphManifest, graph_folder
from gag.models.loading import load_causal_lm
from gag.progress import Progress, silent
from gag.records import Question, content_hash, questions_hash
from gag.steps import Steps
from gag.training.expert import ADAPTER, ExpertRows, train_rows
from gag.workspace import Workspace

POINTER = "rog.json"
_ASKING = {"beams", "plan_share", "shown_paths", "answers", "max_new_tokens"}
"""Choices that training does not depend on."""
_OF_GRAPH = {"max_edges", "max_neighbours", "similarity"}
"""Choices of the graph's section that weak labels and linking depend on."""


@dataclass(frozen=True)
class TrainedRog:
    """runs/GRAPH/rog.json: the adapter's step, the model it is on, and what it was trained from."""

    run: str
    key: str
    source: str
    fingerprint: str
    relations_hash: str
    questions: int
    left_out: int

    def adapter(self, workspace: Workspace, graph: str) -> Path:
        """The adapter's folder."""
        return workspace.runs(graph) / self.run / ADAPTER


def train_rog(
    workspace: Workspace, name: str, questions: Sequence[Question], *, on_progress: Progress = silent
) -> tuple[TrainedRog, dict[str, str]]:
    """Train on `questions` about the graph `name`; goes on where it was interrupted, and is kept when nothing changed.

    Returns what was trained and, by question id, why a question taught nothing. Raises InputError, BusyError, RunError.
    """
    config = workspace.config
    steps = Steps(workspace, name, on_progress)
    with steps.alone():
        graph = Graph.open(graph_folder(workspace.root, name), config.graph)
        try:
            loaded = load_causal_lm(config.models.expert, root=workspace.root)
            choices = [config.rog.model_dump(exclude=_ASKING), config.graph.model_dump(include=_OF_GRAPH)]
            fingerprint, relations = loaded.fingerprint, graph.manifest.relations_hash
            said = (PLANNING, REASONING)
            marked = [str(question.meta.get("question_marked", "")) for question in questions]
            data = (_graph_data(graph.manifest), relations, questions_hash(questions), marked)
            key = content_hash("rog", fingerprint, str(loaded.model.dtype), choices, said, data)
            folder = steps.folder("rog", key)
            left_out_file = folder / "left_out.json"
            if (folder / ADAPTER).is_dir() and left_out_file.is_file():
                on_progress("rog", 1, 1, "kept")
                left_out: dict[str, str] = json.loads(left_out_file.read_text("utf-8"))
            else:
                found = label_questions(graph, questions, config.rog, on_progress)
                left_out = found.left_out
                rows = training_rows(graph, found.labelled, Speller(loaded.tokenizer), config.rog)
                with new_file(left_out_file) as partial:
                    partial.write_text(json.dumps(left_out, ensure_ascii=False) + "\n", "utf-8")
                train_rows(
                    loaded.told("expert", on_progress),
                    ExpertRows(rows),
                    adapter_config(config.rog),
                    folder,
                    on_progress=lambda _, done, total, note="": on_progress("rog", done, total, note),
                )
                steps.note(folder, "rog", key, rows=len(rows), labelled=len(found.labelled))
        finally:
            graph.close()
        source = config.models.expert.source
        trained = TrainedRog(folder.name, key, source, fingerprint, relations, len(questions), len(left_out))
        with new_file(workspace.runs(name) / POINTER) as partial:
            partial.write_text(json.dumps(asdict(trained), indent=1) + "\n", "utf-8")
    return trained, left_out


def trained_rog(workspace: Workspace, graph: Graph) -> TrainedRog:
    """What was trained last for `graph`; raises InputError where nothing was, or where its relations have changed."""
    path = workspace.runs(graph.name) / POINTER
    again = f"Train it: gag rog train {graph.name} --questions FILE.jsonl"
    if not path.is_file():
        raise InputError(f"No planner has been trained for the graph {graph.name}.", again)
    try:
        trained = TrainedRog(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        raise RunError(f"{path} cannot be read.", again) from None
    if not trained.adapter(workspace, graph.name).is_dir():
        raise InputError(f"The adapter {trained.adapter(workspace, graph.name)} is gone.", again)
    if trained.relations_hash != graph.manifest.relations_hash:
        raise InputError(f"The planner of {graph.name} was trained when the graph had other relations.", again)
    return trained


def _graph_data(manifest: GraphManifest) -> list[object]:
    """What tells a graph from itself with other triples: its file's hash, or what was counted at an endpoint."""
    counts = [relation.count for relation in manifest.relations]
    return [manifest.sha256, manifest.triples, manifest.entities, counts, manifest.row_cap, manifest.names_cut]


def adapter_config(config: RogConfig) -> ExpertConfig:
    """The expert section that the adapter is trained under; the rows hold the epochs already."""
    return ExpertConfig(
        method="lora",
        lora_rank=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_from_layer=config.lora_from_layer,
        learning_rate=config.learning_rate,
        epochs=1,
        batch_size=config.batch_size,
        max_length=config.max_length,
        seed=config.seed,
    )
