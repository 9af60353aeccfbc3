"""Going back swaps two modules, whatever interrupts it; a removed domain does not come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gag.domain import DomainModule, ModuleSpec, list_modules, load_module, write_module
from gag.errors import DomainError
from gag.updating import promotion
from gag.updating.promotion import forget_previous, previous_folder, promote, roll_back
from gag.workspace import Workspace


@pytest.fixture
def promoted(place: Workspace) -> Workspace:
    """`mill` as version 2, with version 1 kept."""
    present = load_module(place.module("mill"))
    parts = {**{key: getattr(present, key) for key in ModuleSpec.model_fields}, "version": "2"}
    candidate = write_module(
        place.runs("mill") / "update-x" / "module",
        ModuleSpec(**parts),
        projector=present.projector_state(),
        prototypes=present.prototypes(),
        expert_adapter=present.expert_path,
    )
    assert promote(place, candidate, {"refused": []}).version == "2"
    return place


def versions(place: Workspace) -> tuple[str, str]:
    return load_module(place.module("mill")).version, load_module(previous_folder(place, "mill")).version


def test_what_is_kept_is_in_no_list(promoted: Workspace) -> None:
    assert versions(promoted) == ("2", "1")
    assert [listed.folder.name for listed in list_modules(promoted.modules)] == ["mill"]


@pytest.mark.parametrize("call", range(4))
def test_an_interrupted_swap_goes_on(promoted: Workspace, call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = 0

    def until(function: Any) -> Any:
        def counted(*arguments: Any, **more: Any) -> DomainModule | None:
            nonlocal done
            if done == call:
                raise KeyboardInterrupt
            done += 1
            result: DomainModule | None = function(*arguments, **more)
            return result

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(promotion, "copy_module", until(promotion.copy_module))
        patch.setattr(promotion, "remove_module", until(promotion.remove_module))
        with pytest.raises(KeyboardInterrupt):
            roll_back(promoted, "mill")
    roll_back(promoted, "mill")
    assert versions(promoted) == ("1", "2")
    assert sorted(path.name for path in (promoted.modules / ".previous").iterdir()) == ["mill"]


def test_nothing_to_go_back_to(place: Workspace, promoted: Workspace) -> None:
    damaged = previous_folder(place, "mill") / "projector.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DomainError, match="damaged"):
        roll_back(place, "mill")
    assert load_module(place.module("mill")).version == "2"
    forget_previous(place, "mill")
    with pytest.raises(DomainError, match="no earlier module"):
        roll_back(place, "mill")
    assert not _anything(place.modules / ".previous")


def _anything(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]
