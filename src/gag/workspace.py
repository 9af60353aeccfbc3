"""The workspace: a folder with gag.yaml, the domain modules and the runs that made them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from gag.config import FILE_NAME, Config, DomainConfig, check_domain_name, load_config
from gag.errors import ConfigError
from gag.prompts import Prompts


@dataclass(frozen=True)
class Workspace:
    """A folder and the choices in its gag.yaml; domain modules of other choices lie in a folder of their own."""

    root: Path
    config: Config
    modules_folder: str = "modules"

    def of(self, domain: str) -> Workspace:
        """The same workspace under the choices of one domain (its `settings`)."""
        return replace(self, config=self.config.of(domain))

    @property
    def modules(self) -> Path:
        """Where the domain modules are."""
        return self.root / self.modules_folder

    def module(self, domain: str) -> Path:
        """A domain's module folder."""
        return self.modules / check_domain_name(domain)

    def runs(self, domain: str) -> Path:
        """Where a domain's steps keep their work."""
        return self.root / "runs" / check_domain_name(domain)

    def data(self, domain: str) -> Path:
        """Where ingest and synth put a domain's documents, passages and pairs."""
        return self.root / "data" / check_domain_name(domain)

    def qa(self, domain: str) -> Path | None:
        """A domain's pairs: what gag.yaml names, else what `gag synth` made; None where there are none."""
        configured = self.domain(domain).qa
        if configured is not None:
            return self.path(configured)
        made = self.data(domain) / "qa.jsonl"
        return made if made.is_file() else None

    def passage_files(self, domain: str) -> tuple[Path | None, Path | None]:
        """The file of a domain's passages, or else of its documents, to be cut into them; both may be None.

        What gag.yaml names comes before what ingest made.
        """
        given, data = self.domain(domain), self.data(domain)
        if given.passages is not None:
            return self.path(given.passages), None
        if given.documents is not None:
            return None, self.path(given.documents)
        passages, documents = data / "passages.jsonl", data / "documents.jsonl"
        if passages.is_file():
            return passages, None
        return None, documents if documents.is_file() else None

    def domain(self, name: str) -> DomainConfig:
        """What gag.yaml says of a domain; its defaults where it says nothing."""
        return self.config.domains.get(check_domain_name(name), DomainConfig())

    def prompts(self, name: str) -> Prompts:
        """A domain's prompts: its templates with its field and style."""
        domain = self.domain(name)
        return Prompts(
            self.config.of(name).prompts, domain.field or name.replace("_", " ").replace("-", " "), domain.style
        )

    def path(self, name: str) -> Path:
        """A path of gag.yaml: relative ones start at the workspace."""
        return self.root / Path(name).expanduser()


def workspace_of(folder: Path) -> Path | None:
    """The workspace that `folder` lies in: the nearest folder at or above it with a gag.yaml."""
    whole = folder.resolve()
    return next((place for place in (whole, *whole.parents) if (place / FILE_NAME).is_file()), None)


def current_workspace() -> Path | None:
    """$GAG_WORKSPACE, else the nearest workspace at or above the current folder; None where there is none."""
    named = os.environ.get("GAG_WORKSPACE")
    return Path(named).expanduser() if named else workspace_of(Path.cwd())


def open_workspace(
    folder: str | Path | None = None, *, preset: str | None = None, overrides: Iterable[str] = ()
) -> Workspace:
    """The workspace in `folder`, else $GAG_WORKSPACE, else the nearest one at or above the current folder.

    Raises ConfigError where there is none or its file is wrong.
    """
    root = Path(folder).expanduser() if folder else current_workspace()
    if root is None:
        raise ConfigError(
            f"There is no {FILE_NAME} in {Path.cwd()} or above it.",
            "Make a workspace with: gag init FOLDER; or name one: --workspace FOLDER",
        )
    if not (root / FILE_NAME).is_file():
        raise ConfigError(f"{root} is no workspace: it has no {FILE_NAME}.", f"Make one with: gag init {root}")
    return Workspace(root, load_config(root / FILE_NAME, preset=preset, overrides=overrides))
