"""Pretraining of the tiny base: `python -m tools.tiny_base.pretrain --out DIR --minutes 44`.

A randomly initialised tiny Qwen3-VL learns to read digit scenes and to answer with plain integers,
as a real base model does before anyone shows it a coord token. Three phases, as shares of the
time: the vision tower alone on dense targets; answers about few digits; answers about up to six.

Two processes with one thread each share the gradients: on a busy machine that is faster than one
process with two threads. Scenes are composed while training and never repeat.
"""

import argparse
import logging
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from coordexp.scenes.digits import BENT, MAX_OBJECTS, SceneComposer
from coordexp.tiny.model import build_model, build_tokenizer, write_base
from tools.tiny_base.batches import AnswerWriter, build_batch
from tools.tiny_base.optimizer import MatrixOptimizer
from tools.tiny_base.pretrainer import Pretrainer

logger = logging.getLogger(__name__)

_WARMUP_STEPS = 60
_FEW_OBJECTS = 3
_CROWD = (4, 12)
_LOG_SECONDS = 30.0


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes a run.

    Args:
        out: Where the base is written, every few minutes and at the end.
        minutes: CPU time of one worker, so that a busy machine takes longer but learns the same;
            all schedules are shares of it.
        seed: Of the weights and of the scenes.
        workers: Processes, one thread each.
        batch_size: Scenes per worker and step.
        parts: Blocks of similar length into which a worker's batch is cut.
        adam_lr: Highest learning rate of vectors, embeddings and auxiliary heads.
        matrix_lr: Highest learning rate of matrices.
        weight_decay: Of everything but vectors.
        checkpoint_minutes: Time between two writes.
    """

    out: Path
    minutes: float
    seed: int = 20
    workers: int = 2
    batch_size: int = 16
    parts: int = 2
    adam_lr: float = 1.5e-3
    matrix_lr: float = 0.015
    weight_decay: float = 0.05
    checkpoint_minutes: float = 4.0


@dataclass(frozen=True)
class Phase:
    """What the schedules say at one moment of the run; `progress` runs from 0 to 1."""

    progress: float

    @property
    def with_text(self) -> bool:
        """Whether the vision tower has seen enough for answers to be learned."""
        return self.progress >= 0.25  # noqa: PLR2004

    @property
    def objects(self) -> tuple[int, int]:
        """The fewest and the most digits of a scene.

        Crowded scenes show the vision tower more digits for the same work; few digits make short
        answers, from which pointing is learned cheaper.
        """
        if not self.with_text:
            return _CROWD
        return (1, _FEW_OBJECTS) if self.progress < 0.38 else (1, MAX_OBJECTS)  # noqa: PLR2004

    @property
    def text_weight(self) -> float:
        """Rises slowly, so that an ignorant text model does not spoil the vision tower."""
        return min(1.0, max(0.02, (self.progress - 0.25) / 0.05))

    @property
    def cell_weight(self) -> float:
        """Falls once the answers carry the vision tower."""
        return 1.0 - 0.8 * max(0.0, (self.progress - 0.6) / 0.4)

    @property
    def lr_share(self) -> float:
        """Constant at first, then linear to zero."""
        return min(1.0, max(0.0, (1.0 - self.progress) / 0.65))


class Run:
    """The state of one worker's training."""

    def __init__(self, recipe: Recipe, rank: int) -> None:
        self.recipe = recipe
        self.rank = rank
        self.tokenizer = build_tokenizer()
        self.writer = AnswerWriter(self.tokenizer)
        self.composer = SceneComposer("train", handwriting=BENT)
        torch.manual_seed(recipe.seed)
        model = build_model(self.tokenizer, seed=recipe.seed)
        self.pretrainer = Pretrainer(model, self.tokenizer).train()
        matrices = [
            weight
            for name, weight in model.named_parameters()
            if weight.ndim == 2 and "embed" not in name  # noqa: PLR2004
        ]
        self.matrices = MatrixOptimizer(matrices, weight_decay=recipe.weight_decay)
        self.others = _adam(self.pretrainer, matrices, recipe)
        self.step_number = 0

    def step(self, phase: Phase) -> dict[str, float]:
        """Take one optimizer step; return what is worth showing of it."""
        recipe = self.recipe
        batch = build_batch(
            self.composer,
            self.writer,
            np.random.default_rng([recipe.seed, self.rank, self.step_number]),
            size=recipe.batch_size,
            parts=recipe.parts,
            objects=phase.objects,
        )
        losses = self.pretrainer.losses(batch, with_text=phase.with_text)
        loss = phase.cell_weight * losses.cells + phase.text_weight * losses.text
        self.pretrainer.zero_grad(set_to_none=True)
        loss.backward()
        _share_gradients(self.pretrainer)
        norm = nn.utils.clip_grad_norm_(self.pretrainer.parameters(), 1.0)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"step {self.step_number}: gradient norm {norm}")
        lr = phase.lr_share * min(1.0, (self.step_number + 1) / _WARMUP_STEPS)
        for group in self.others.param_groups:
            group["lr"] = lr * recipe.adam_lr
        self.others.step()
        self.matrices.step(lr=lr * recipe.matrix_lr)
        self.step_number += 1
        return losses.shown


def _adam(
    pretrainer: Pretrainer, matrices: list[nn.Parameter], recipe: Recipe
) -> torch.optim.AdamW:
    elsewhere = {id(matrix) for matrix in matrices}
    rest = [weight for weight in pretrainer.parameters() if id(weight) not in elsewhere]
    groups = [
        {"params": [w for w in rest if w.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [w for w in rest if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.adam_lr, betas=(0.9, 0.98))


def _share_gradients(module: nn.Module) -> None:
    """Average the gradients over the workers, in one message."""
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def _shared_progress(started: float, minutes: float) -> float:
    """Return the share of the CPU time that is used up, the first worker's for all."""
    used = (time.process_time() - started) / 60
    progress = torch.tensor(used / minutes, dtype=torch.float64)
    distributed.broadcast(progress, src=0)
    return float(progress)


def _work(rank: int, recipe: Recipe, meeting_point: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting_point}",
        rank=rank,
        world_size=recipe.workers,
    )
    run = Run(recipe, rank)
    started = time.process_time()
    logged = written = time.monotonic()
    seen: list[dict[str, float]] = []
    while (progress := _shared_progress(started, recipe.minutes)) < 1.0:
        seen.append(run.step(Phase(progress)))
        now = time.monotonic()
        if rank == 0 and now - logged > _LOG_SECONDS:
            _log(run, progress, seen)
            logged, seen = now, []
        if rank == 0 and now - written > 60 * recipe.checkpoint_minutes:
            write_base(recipe.out, run.pretrainer.model, run.tokenizer)
            written = now
    if rank == 0:
        write_base(recipe.out, run.pretrainer.model, run.tokenizer)
        scenes = run.step_number * recipe.batch_size * recipe.workers
        logger.info("done: %d steps, %d scenes, seed %d", run.step_number, scenes, recipe.seed)
    distributed.destroy_process_group()


def _log(run: Run, progress: float, seen: list[dict[str, float]]) -> None:
    names = seen[-1].keys()
    means = (
        f"{name} {np.mean([shown[name] for shown in seen if name in shown]):.3f}" for name in names
    )
    logger.info("%5.1f%% step %d: %s", 100 * progress, run.step_number, ", ".join(means))


def pretrain(recipe: Recipe) -> None:
    """Train a tiny base from scratch and write it to `recipe.out`."""
    with tempfile.TemporaryDirectory() as folder:
        meeting_point = os.path.join(folder, "meeting")  # noqa: PTH118 - a URL's path
        spawn(_work, args=(recipe, meeting_point), nprocs=recipe.workers)


def main() -> None:
    """Run the recipe of the shipped base, or a variation of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--workers", type=int, default=Recipe.workers)
    arguments = parser.parse_args()
    pretrain(Recipe(**vars(arguments)))


if __name__ == "__main__":
    main()
