from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from coordexp.errors import CoordExpError
from coordexp.training.keep.checkpoint import find_checkpoints
from coordexp.training.keep.saving import CheckpointKeeper


def keeper_of(
    run: Path, *, rank: int = 0, keep: int | None = None, wait: Callable[[], None] = lambda: None
) -> CheckpointKeeper:
    run.mkdir(exist_ok=True)
    return CheckpointKeeper(
        run, keep=keep, rank=rank, world_size=2, wait=wait, states=lambda: {"seen": rank}
    )


def weights_into(keeper: CheckpointKeeper, step: int) -> Callable[[], None]:
    def write() -> None:
        assert keeper.place is not None
        (keeper.place / f"checkpoint-{step}").mkdir(parents=True, exist_ok=True)
        (keeper.place / f"checkpoint-{step}" / "weights").write_text(str(step))

    return write


def test_a_checkpoint_appears_with_the_states_of_its_rank(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "run")
    assert keeper.place is None
    keeper.write(3, weights_into(keeper, 3))
    assert keeper.place is None
    (checkpoint,) = find_checkpoints(tmp_path / "run")
    assert (checkpoint / "weights").read_text() == "3"
    assert torch.load(checkpoint / "state_rank_0_of_2.pt", weights_only=True) == {"seen": 0}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint-3"]


def test_the_other_ranks_write_and_leave_the_name_to_the_first(tmp_path: Path) -> None:
    second = keeper_of(tmp_path / "run", rank=1)
    second.write(3, weights_into(second, 3))
    assert find_checkpoints(tmp_path / "run") == []
    assert (tmp_path / "run/.partial/checkpoint-3/state_rank_1_of_2.pt").exists()


def test_every_rank_has_written_before_a_checkpoint_gets_its_name(tmp_path: Path) -> None:
    seen: list[list[Path]] = []
    run = tmp_path / "run"
    keeper = keeper_of(run, wait=lambda: seen.append(find_checkpoints(run)))
    keeper.write(3, weights_into(keeper, 3))
    assert seen == [[], [run / "checkpoint-3"]]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "run", keep=2)
    for step in (2, 4, 6):
        keeper.write(step, weights_into(keeper, step))
    names = [path.name for path in find_checkpoints(tmp_path / "run")]
    assert names == ["checkpoint-4", "checkpoint-6"]


def test_a_disk_that_takes_nothing_leaves_the_older_checkpoints(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "run")
    keeper.write(2, weights_into(keeper, 2))

    def full() -> None:
        weights_into(keeper, 4)()
        raise OSError(28, "No space left on device")

    with pytest.raises(
        CoordExpError, match=r"checkpoint-4 cannot be written.*checkpoint-2 is whole"
    ):
        keeper.write(4, full)
    assert keeper.place is None
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint-2"]


def test_the_final_files_appear_and_the_card_comes_last(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "run")

    def write(directory: Path) -> None:
        directory.mkdir(parents=True)
        for name in ("coordexp.json", "weights"):
            (directory / name).write_text(name)

    keeper.write_final(write)
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["coordexp.json", "weights"]
