"""A folder that was removed stays removed, whatever a killed process left beside it."""

from __future__ import annotations

from pathlib import Path

from gag.atomic import interrupted, new_folder, remove_folder, restore_interrupted


def test_an_older_version_does_not_come_back_once_the_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "law"
    for text in ("one", "two"):
        with new_folder(folder) as partial:
            (partial / "what").write_text(text)
    left = tmp_path / ".law.replaced"  # of a process that was killed after both renames
    left.mkdir()
    (left / "what").write_text("one")
    remove_folder(folder)
    assert interrupted(tmp_path) == []
    restore_interrupted(folder)
    assert not folder.exists()
