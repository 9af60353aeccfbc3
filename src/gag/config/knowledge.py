"""Where knowledge comes from: routes, passages, corpora, synthesis, graphs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gag.config.answering import ModelConfig
from gag.config.section import Section


class RouterConfig(Section):
    """Prototype routing (paper section 3; no training)."""

    prototypes: int = Field(32, ge=1, description="Prototypes a route, by k-means.")
    max_questions: int = Field(10_000, ge=1, description="Questions a route's bank is built from, at most.")
    max_length: int = Field(256, ge=1, description="Tokens of a question the encoder sees.")
    n_init: int = Field(10, ge=1, description="Restarts of k-means.")
    seed: int = Field(42, description="Seed of k-means and of the choice of questions.")
    batch_size: int = Field(64, ge=1, description="Questions encoded at once.")
    general_questions: str | None = Field(
        None, description="JSONL of general questions for the general route; null takes the ones in the package."
    )


class RetrievalConfig(Section):
    """Passages found by late interaction, for the methods that read text (rag, xrag, gag + rag)."""

    encoder: ModelConfig | None = Field(
        None,
        description="A ColBERTv2 checkpoint (hub id or local folder), or any encoder, whose token embeddings are then "
        "matched as they are; null takes the token embeddings of models.encoder.",
    )
    top_k: int = Field(1, ge=1, description="Passages given for a question (paper: 1).")
    candidates: int | None = Field(
        None,
        ge=1,
        description="Passages that are scored exactly for a question, at least top_k: a third found by BM25, a third "
        "by mean vectors, a third by both together. More finds more of what scoring every passage would find, and "
        "takes longer. null takes 512, or 2 % of the store where that is more.",
    )
    batch_size: int = Field(32, ge=1, description="Windows of text encoded at once.")
    window: int | None = Field(
        None,
        ge=8,
        description="Tokens of a passage that are encoded together; a longer passage is cut into windows of equal "
        "length. null takes the encoder's own limit (ColBERTv2: 180).",
    )


class CorpusConfig(Section):
    """From files to documents and passages: parse, clean, chunk (`gag ingest`)."""

    chunk_tokens: int = Field(
        480, ge=16, description="Tokens of the expert's tokenizer a passage may have (paper: 480)."
    )
    chunk_overlap: int = Field(
        0, ge=0, description="Tokens at a passage's start that repeat the end of the one before, at most (paper: 0)."
    )
    table_tokens: int = Field(
        2048,
        ge=16,
        description="A table is a passage whole up to so many tokens, even above chunk_tokens; a larger one is cut "
        "between rows.",
    )
    pdf_parser: Literal["liteparse", "pypdfium2", "docling", "mineru"] = Field(
        "liteparse",
        description="Reader of PDF files. liteparse: no model needed; a file it cannot read goes to pypdfium2, as the "
        "journal says. docling and mineru (installed by you) run their own models, locally.",
    )
    office_parser: Literal["markitdown", "docling"] = Field(
        "markitdown", description="Reader of DOCX, PPTX and XLSX files."
    )
    cut_sections: tuple[Literal["references", "acknowledgements", "authors", "supporting"], ...] = Field(
        ("references", "acknowledgements", "authors", "supporting"),
        description="Sections left out, by their heading. authors: information, contributions, conflicts of interest; "
        "supporting: supporting or supplementary information.",
    )
    furniture_pages: int = Field(
        3, ge=0, description="A line at the edge of at least so many pages is furniture and left out; 0 keeps all."
    )
    near_duplicates: float = Field(
        0.8,
        ge=0,
        le=1,
        description="A document is left out when it shares this much of its 5-word shingles (Jaccard) with an earlier "
        "one; 0 leaves out exact copies only.",
    )
    workers: int = Field(0, ge=0, description="Processes that parse; 0 takes one a processor.")
    parse_seconds: float = Field(300, gt=0, description="Time a file may take to parse; then it is given up.")
    parse_memory_gb: float = Field(4, gt=0, description="Memory a process that parses may take; then it is given up.")
    max_pages: int = Field(2000, ge=1, description="A file with more pages is refused.")
    max_file_mb: float = Field(512, gt=0, description="A larger file, packed or unpacked, is refused (not JSONL).")

    @model_validator(mode="after")
    def _sizes(self) -> CorpusConfig:
        if self.chunk_overlap > self.chunk_tokens // 2:
            raise ValueError("chunk_overlap must be at most half of chunk_tokens")
        return self


class SynthesisConfig(Section):
    """Question-answer pairs from passages (`gag synth`): who writes them, how many, and what they must pass."""

    model: str = Field(
        "extractive",
        description="Who writes: extractive (rules, no model), base (models.base), a hub id, folder or package:NAME, "
        "or the address of an OpenAI-compatible endpoint: https://HOST/v1#MODEL.",
    )
    style: Literal["plain", "raft", "unanswerable", "cross-document"] = Field(
        "plain",
        description="plain: questions of a passage; raft: also passages that do not help, in meta; unanswerable: what "
        "the documents do not say; cross-document: what only two documents together say.",
    )
    per_passage: int | None = Field(
        None, ge=1, description="Facts asked for in a passage; null is 4 from a model, one in 8 words from extractive."
    )
    wordings: int = Field(4, ge=1, description="Wordings of a question about one fact (extractive).")
    pairs_per_request: int | None = Field(
        None, ge=1, description="Pairs a model writes at once; null is all of a passage for an endpoint, else one."
    )
    tokens_per_pair: int = Field(160, ge=16, description="Longest pair a model may write, in tokens.")
    check_tokens: int = Field(
        48,
        ge=8,
        description="Longest answer of the second pass, in tokens; a model that thinks before it answers needs more.",
    )
    temperature: float = Field(0.0, ge=0, description="Sampling of the writer; 0 decodes greedily.")
    batch_size: int = Field(8, ge=1, description="Prompts a local model completes at once.")
    unanswerable_answer: str = Field(
        "The documents do not say.", min_length=1, description="The answer that an unanswerable question gets."
    )
    distractors: int = Field(3, ge=0, description="Passages of other documents named beside the right one (raft).")
    similarity: float = Field(
        0.8, gt=0, le=1, description="Share of words (Jaccard) from which two questions are the same one."
    )
    test_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the documents whose questions are kept for testing; the expert does not learn what these "
        "documents say.",
    )
    seed: int = Field(42, description="Seed of the split and of the sampling.")
    endpoint_model: str | None = Field(None, description="The endpoint's model; null takes the only one it lists.")
    api_key_env: str = Field("GAG_API_KEY", description="Environment variable that holds the endpoint's key.")
    concurrency: int = Field(8, ge=1, description="Requests to the endpoint at the same time.")
    requests_per_minute: float = Field(0, ge=0, description="Most requests a minute; 0 sets no limit.")
    timeout: float = Field(120, gt=0, description="Seconds an answer of the endpoint may take.")
    retries: int = Field(4, ge=0, description="Further tries after a time-out, a server error or rubbish.")
    retry_seconds: float = Field(
        300, gt=0, description="Time for all tries of one request; a 429 is waited for as long as this lasts."
    )
    price_in: float | None = Field(None, ge=0, description="Price of a million tokens sent, for the estimate.")
    price_out: float | None = Field(None, ge=0, description="Price of a million tokens received, for the estimate.")


class GraphConfig(Section):
    """Knowledge graphs: where they are asked, and how far a walk goes (`gag graph`)."""

    max_edges: int = Field(
        10_000,
        ge=1,
        description="Edges followed at each hop of a path; what a hub has beyond them is left out, and said.",
    )
    max_neighbours: int = Field(
        500,
        ge=1,
        description="In training, an entity with more edges is no stop on the way from a question to its answer.",
    )
    alias_relations: tuple[str, ...] = Field(
        ("alias",), description="Relations of a table whose tails are further names of their heads, not entities."
    )
    language: str = Field("en", description="Language of an RDF graph's labels; those in others are further names.")
    similarity: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of letter triples that a misspelt name must have in common with an entity's.",
    )
    max_names: int = Field(
        1_000_000, ge=1, description="Names that are fetched from an endpoint, at most, to find entities in questions."
    )
    timeout: float = Field(10.0, gt=0, description="Seconds that an endpoint has for an answer.")
    retries: int = Field(2, ge=0, description="Further tries where an endpoint is silent or busy.")
