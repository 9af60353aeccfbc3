"""The workspace file `gag.yaml`: every choice with its default, its meaning and its limits; unknown keys are refused.

A field's `description` is at once this documentation, the comment that `gag init` writes and docs/configuration.md.
"""

from gag.config.answering import (
    GenerationChoice,
    GenerationConfig,
    ModelConfig,
    ModelsConfig,
    ProjectorConfig,
    PromptsConfig,
    ReadoutConfig,
)
from gag.config.knowledge import CorpusConfig, GraphConfig, RetrievalConfig, RouterConfig, SynthesisConfig
from gag.config.section import WHOLE, Section
from gag.config.training import (
    AlignmentConfig,
    ExpertConfig,
    LoraConfig,
    RaftConfig,
    RogConfig,
    UpdateConfig,
    XragConfig,
)
from gag.config.tree import explained, merged, overridden, override_tree, parse_yaml, read_yaml, without
from gag.config.workspace import (
    FILE_NAME,
    Config,
    DomainConfig,
    check_domain_name,
    load_config,
    parse_config,
    preset_names,
    settings_under,
)

__all__ = [
    "FILE_NAME",
    "WHOLE",
    "AlignmentConfig",
    "Config",
    "CorpusConfig",
    "DomainConfig",
    "ExpertConfig",
    "GenerationChoice",
    "GenerationConfig",
    "GraphConfig",
    "LoraConfig",
    "ModelConfig",
    "ModelsConfig",
    "ProjectorConfig",
    "PromptsConfig",
    "RaftConfig",
    "ReadoutConfig",
    "RetrievalConfig",
    "RogConfig",
    "RouterConfig",
    "Section",
    "SynthesisConfig",
    "UpdateConfig",
    "XragConfig",
    "check_domain_name",
    "explained",
    "load_config",
    "merged",
    "overridden",
    "override_tree",
    "parse_config",
    "parse_yaml",
    "preset_names",
    "read_yaml",
    "settings_under",
    "without",
]
