"""Finding files: order, links and loops, MinerU's folders, and what is left out by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gag.corpus.ingest.discover import Left, Source, discover
from gag.errors import InputError


def names(paths: list[Path], root: Path) -> tuple[list[str], dict[str, str]]:
    found = list(discover(paths, root))
    return [one.name for one in found if isinstance(one, Source)], {
        o.name: o.reason for o in found if isinstance(o, Left)
    }


def touch(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("x")


def test_files_are_sorted_and_each_is_there_once(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.txt", "b/10.md", "a.pdf", ".hidden.md", "b/~$lock.docx", "c.jpg", "b/package.json")
    sources, left = names([tmp_path / "b", tmp_path], tmp_path)
    assert sources == ["b/10.md", "b/2.txt", "a.pdf"]
    assert left["c.jpg"] == ".jpg" and left["b/package.json"] == ".json" and ".hidden.md" not in left


def test_links_are_followed_and_loops_named(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.txt", "out/b.txt")
    os.symlink(tmp_path / "in", tmp_path / "in" / "loop")
    os.symlink(tmp_path / "out", tmp_path / "in" / "there")
    os.symlink("self", tmp_path / "in" / "self")
    os.symlink("nowhere", tmp_path / "in" / "broken.txt")
    os.mkfifo(tmp_path / "in" / "pipe.txt")
    sources, left = names([tmp_path / "in"], tmp_path)
    assert sources == ["in/a.txt", "in/there/b.txt"]
    assert left == {
        "in/loop": "a symlink loop: it points to a folder that it is in",
        "in/self": "a symlink loop: it points to itself",
        "in/broken.txt": "a symlink that leads nowhere (nowhere)",
        "in/pipe.txt": "no regular file",
    }


@pytest.mark.parametrize(
    ("files", "best"),
    [
        (["p_content_list.json", "p_middle.json", "p.md", "p_layout.pdf", "p_origin.pdf"], ["p_content_list.json"]),
        (["p_content_list_v2.json", "p_content_list.json", "p_model.json"], ["p_content_list_v2.json"]),
        (["p_middle.json", "p.md", "p_span.pdf"], ["p_middle.json"]),
        (["p.md", "images/a.jpg"], ["p.md"]),
        (["content_list.json", "full.md", "layout.json"], ["content_list.json"]),
        (["p_content_list.json", "q.md", "q.pdf"], ["p_content_list.json", "q.md", "q.pdf"]),
    ],
)
def test_of_minerus_files_the_best_is_read(files: list[str], best: list[str], tmp_path: Path) -> None:
    touch(tmp_path, *(f"auto/{file}" for file in files))
    assert names([tmp_path], tmp_path)[0] == [f"auto/{file}" for file in best]


def test_names_that_are_not_utf8_are_told_apart_and_left(tmp_path: Path) -> None:
    for name in (b"caf\xe9.txt", b"caf\xe8.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("words")
    left = list(discover([tmp_path], tmp_path))
    assert [type(one) for one in left] == [Left, Left]
    assert len({one.name for one in left}) == 2 and all("not UTF-8" in one.reason for one in left)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.pdf does not exist"):
        list(discover([tmp_path / "gone.pdf"], tmp_path))


def test_names_are_from_the_workspace_or_whole(tmp_path: Path) -> None:
    touch(tmp_path, "ws/in.txt", "out.txt")
    assert names([tmp_path / "ws" / "in.txt", tmp_path / "out.txt"], tmp_path / "ws")[0] == [
        "in.txt",
        str(tmp_path / "out.txt"),
    ]
