import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import parse_record
from coordexp.model.load import load_inputs
from coordexp.rendering.encode import IGNORE_INDEX, Encoder
from coordexp.rendering.style import RenderingStyle
from coordexp.scenes.digits import MAX_OBJECTS, SceneComposer, scene_to_record
from coordexp.tiny.model import build_model, build_tokenizer
from tools.tiny_base.batches import (
    CELL,
    CELLS_PER_SIDE,
    PROMPT,
    AnswerWriter,
    answer_text,
    build_batch,
    cell_targets,
    patchify,
)
from tools.tiny_base.forward import FastForward
from tools.tiny_base.optimizer import MatrixOptimizer, orthogonalise
from tools.tiny_base.pretrain import Phase, Recipe, pretrain
from tools.tiny_base.pretrainer import Pretrainer, smooth_edge_loss

TOKENIZER = build_tokenizer()
WRITER = AnswerWriter(TOKENIZER)
COMPOSER = SceneComposer("train")
TEXT_BASELINE = RenderingStyle(
    system_prompt=None,
    user_prompt=PROMPT,
    json_format="standard",
    object_ordering="sorted",
    coord_tokens=False,
    alphabet=SPEC_ALPHABET,
    min_pixels=None,
    max_pixels=None,
)


def test_the_fast_encoder_is_the_products_encoder(tiny_base: Path) -> None:
    inputs = load_inputs(tiny_base, min_pixels=None, max_pixels=None)
    encoder = Encoder(TOKENIZER, inputs, TEXT_BASELINE)
    rng = np.random.default_rng(0)
    for count in range(1, MAX_OBJECTS + 1):
        scene = COMPOSER.compose(rng, count=count)
        record = parse_record(scene_to_record(scene, "scene.png"), SPEC_ALPHABET)
        example = encoder.encode(record, Image.fromarray(scene.image), seed=0, epoch=0, index=0)
        prompt, answer = WRITER.encode(scene, quoted=False)
        assert example.input_ids.tolist() == prompt + answer
        assert example.labels.tolist() == [IGNORE_INDEX] * len(prompt) + answer
        patches = torch.from_numpy(patchify(scene.image[None]))[0]
        torch.testing.assert_close(example.pixel_values, patches, atol=1e-6, rtol=0)


def test_quoting_changes_the_quotes_alone() -> None:
    scene = COMPOSER.compose(np.random.default_rng(0), count=3)
    plain, quoted = (json.loads(answer_text(scene, quoted=quoted)) for quoted in (False, True))
    assert list(plain) == list(quoted)
    for key, item in plain.items():
        assert quoted[key] == {**item, "bbox_2d": [str(value) for value in item["bbox_2d"]]}


def test_the_fast_forward_pass_is_the_models_own() -> None:
    model = build_model(TOKENIZER, seed=0).eval()
    batch = build_batch(
        COMPOSER, WRITER, np.random.default_rng(0), size=4, parts=2, objects=(1, MAX_OBJECTS)
    )
    fast = FastForward(model)
    part, side = batch.parts[1], 2 * CELLS_PER_SIDE
    with torch.no_grad():
        image, deep = fast.vision(batch.patches[2:])
        logits = model.lm_head(fast.text(part.input_ids, image, deep))
        expected = model(
            input_ids=part.input_ids,
            attention_mask=(part.input_ids != TOKENIZER.pad_token_id).long(),
            pixel_values=batch.patches[2:].flatten(0, 1),
            image_grid_thw=torch.tensor([[1, side, side]] * 2),
            mm_token_type_ids=(part.input_ids == model.config.image_token_id).int(),
        ).logits
    supervised = part.labels != IGNORE_INDEX
    torch.testing.assert_close(logits[supervised], expected[supervised], atol=1e-5, rtol=1e-5)


def test_a_batch_keeps_scenes_answers_and_targets_together() -> None:
    batch = build_batch(COMPOSER, WRITER, np.random.default_rng(3), size=6, parts=3, objects=(1, 3))
    numbers = []
    for part in batch.parts:
        for row, labels in zip(part.input_ids, part.labels, strict=True):
            answer = TOKENIZER.decode(row[labels != IGNORE_INDEX], skip_special_tokens=True)
            for item in json.loads(answer).values():
                numbers.extend(int(value) for value in item["bbox_2d"])
    coords = torch.cat([part.coords for part in batch.parts])
    assert numbers == [int(edge / 128 * 999 + 0.5) for edge in coords.tolist()]
    assert len(batch.patches) == len(batch.cells.label) == 6


def test_every_digit_is_seen_by_a_cell_and_no_cell_sees_a_digit_elsewhere() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 4, 6, 12):
        scene = COMPOSER.compose(rng, count=count)
        cells = cell_targets(scene)
        seen = {tuple(box) for box in cells.box[cells.label != IGNORE_INDEX].tolist()}
        assert seen == {digit.box for digit in scene.digits}
        assert cells.rank.max() <= MAX_OBJECTS - 1
        for cell in torch.nonzero(cells.label != IGNORE_INDEX).flatten().tolist():
            x, y = cell % CELLS_PER_SIDE * CELL, cell // CELLS_PER_SIDE * CELL
            x1, y1, x2, y2 = cells.box[cell].tolist()
            assert x1 < x + CELL
            assert x2 > x
            assert y1 < y + CELL
            assert y2 > y


def test_coordinates_begin_where_a_number_begins() -> None:
    scene = COMPOSER.compose(np.random.default_rng(0), count=3)
    part = WRITER.part([scene], quoted=False)
    model = Pretrainer(build_model(TOKENIZER, seed=0), TOKENIZER)
    supervised = part.labels[:, 1:] != IGNORE_INDEX
    target = part.labels[:, 1:][supervised]
    weights, starts = model.weigher(target, part.input_ids[:, :-1][supervised])
    assert int(starts.sum()) == 4 * len(scene.digits) == len(part.coords)
    assert weights[model.weigher.is_word[target]].unique().tolist() == [3.0]
    assert bool((weights > 0).all())


def test_the_edge_loss_is_least_at_its_target() -> None:
    edge = torch.tensor([3])
    bell = -((torch.arange(9) - 3) ** 2) / (2 * 0.7**2)
    best = smooth_edge_loss(bell[None], edge)
    assert best < smooth_edge_loss(bell[None].roll(1, dims=1), edge)
    assert best < smooth_edge_loss(2 * bell[None], edge)


@pytest.mark.parametrize("shape", [(3, 8, 32), (2, 32, 8), (1, 16, 16)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_the_matrix_optimizer_moves_downhill_and_skips_what_has_no_gradient() -> None:
    torch.manual_seed(0)
    weight, idle = (torch.nn.Parameter(torch.randn(4, 6)) for _ in range(2))
    before, start = idle.detach().clone(), weight.detach().norm()
    optimizer = MatrixOptimizer([weight], weight_decay=0.0)
    for _ in range(50):
        weight.grad = weight.detach().clone()
        optimizer.step(lr=0.1)
    assert weight.norm() < 0.5 * start
    assert torch.equal(idle, before)


def test_phases_go_from_seeing_to_answering() -> None:
    phases = [Phase(step / 100) for step in range(101)]
    assert not phases[0].with_text
    assert phases[-1].with_text
    assert phases[30].objects == (1, 3)
    assert phases[-1].objects == (1, MAX_OBJECTS)
    rates = [phase.lr_share for phase in phases]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (1.0, 0.0)
    assert phases[26].text_weight < phases[40].text_weight == 1.0
    assert phases[0].cell_weight == 1.0
    assert phases[-1].cell_weight == pytest.approx(0.2)


@pytest.mark.slow
def test_a_short_run_writes_a_whole_base(tmp_path: Path) -> None:
    pretrain(Recipe(out=tmp_path / "base", minutes=0.03, batch_size=2, parts=1))
    names = {file.name for file in (tmp_path / "base").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
