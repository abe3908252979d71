"""LoRA on experts, from a configuration to a merged model, and what is said where there is none."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedModel

from coordexp.config.schema import Config
from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.export import plain_reload
from coordexp.export.base_layout import load_base_layout
from coordexp.export.certify import Merge, read_files_back
from coordexp.export.expected import load_expected
from coordexp.export.merge import merge_checkpoint
from coordexp.families.known import load_family
from coordexp.families.qwen3_vl_moe.family import QWEN3_VL_MOE
from coordexp.model.adapters import check_layers, install_lora
from coordexp.model.card import load_weights_card
from coordexp.model.load import load_base, load_checkpoint
from coordexp.training.run.experts_note import experts_note
from coordexp.training.run.stage1 import train
from tests.families.mixtures.conftest import MakeConfig
from tests.model.small import small_model
from tests.training.first_step import FirstStep, take_first_step

slow = pytest.mark.slow
LAYERS = "model.language_model.layers"
STACKS = ("experts.gate_up_proj", "experts.down_proj")
PACKED = {"packing": True, "global_max_length": 400}


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def run(make_config: MakeConfig, said: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packed steps with activations computed anew, the loss without logits."""
    path = tmp_path_factory.mktemp("experts") / "run"
    fused = {"objective_backend": "fused", "gradient_checkpointing": True}
    train(make_config(path, training={**PACKED, **fused, "max_steps": 2}), say=said.append)
    return path


@pytest.fixture(params=["published", "transformers"])
def merge_of(
    request: pytest.FixtureRequest, run: Path, mixture: Path, tmp_path: Path
) -> Callable[..., Path]:
    """Merge the run into its base, whose experts lie as published or as transformers saves them."""
    base = mixture
    if request.param == "transformers":
        base = tmp_path / "saved"
        shutil.copytree(mixture, base)
        AutoModelForImageTextToText.from_pretrained(mixture).save_pretrained(base)
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(run, checkpoint)
    card = json.loads((run / "coordexp.json").read_text())
    card["weights"]["base"] = str(base)
    (checkpoint / "coordexp.json").write_text(json.dumps(card))

    def merge(**options: bool) -> Path:
        merge_checkpoint(checkpoint, tmp_path / "merged", **options)
        return tmp_path / "merged"

    return merge


@slow
@pytest.mark.parametrize("merge_of", ["published"], indirect=True)
def test_every_expert_moves_and_the_model_loads_as_any_other(
    merge_of: Callable[..., Path], mixture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordexp.export.probe.NUM_RECORDS", 2)
    monkeypatch.setattr("coordexp.export.probe.NEW_TOKENS", 6)
    monkeypatch.setattr("coordexp.export.certify.answer_in_isolation", plain_reload.answer_plainly)
    merged = merge_of()
    certificate = json.loads((merged / "coordexp_certificate.json").read_text())
    assert certificate["origin"]["method"] == "LoRA"
    model, found = AutoModelForImageTextToText.from_pretrained(merged, output_loading_info=True)
    assert not any(found.values())
    base = load_base(mixture, dtype="auto", attn_implementation="sdpa")
    for name, before in base.named_parameters():
        if name.endswith(STACKS):
            moved = (model.get_parameter(name) != before).flatten(1).any(1)
            assert moved.all(), name
        elif name.endswith(".gate.weight"):
            assert torch.equal(model.get_parameter(name), before)


@slow
def test_the_files_keep_the_layout_of_the_base(merge_of: Callable[..., Path]) -> None:
    merged = merge_of(certify=False)
    base = Path(str(load_weights_card(merged.parent / "checkpoint").base))
    shapes = [
        {name: tensor.shape for name, tensor in load_file(path / "model.safetensors").items()}
        for path in (base, merged)
    ]
    assert shapes[0] == shapes[1]


@slow
def test_an_expert_that_is_one_step_off_is_refused_by_its_number(
    merge_of: Callable[..., Path],
) -> None:
    merged = merge_of(certify=False)
    checkpoint = merged.parent / "checkpoint"
    card = load_weights_card(checkpoint)
    layout = load_base_layout(Path(str(card.base)))
    (merged / "README.md").unlink()
    merge = Merge(Path(str(card.base)), checkpoint, merged, layout, card.coord_ids)
    expected = load_expected(layout, checkpoint)
    found, _ = read_files_back(merge, expected)
    assert found.farthest_layer <= 1
    name = f"{LAYERS}.1.mlp.experts.down_proj"
    assert name in expected.layers

    def damaged(edit: Callable[[Tensor], object]) -> str:
        tensors = load_file(merged / "model.safetensors")
        whole = tensors[name].clone()
        edit(tensors[name])
        save_file(tensors, merged / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CoordExpError) as raised:
            read_files_back(merge, expected)
        save_file(tensors | {name: whole}, merged / "model.safetensors", metadata={"format": "pt"})
        return str(raised.value)

    assert f"{name}: is not the base with LoRA merged: expert 2, row" in damaged(
        lambda stack: stack[2, 3, 5].mul_(1.1)
    )
    assert name in damaged(lambda stack: stack.copy_(stack.flip(0)))


@slow
def test_an_adapter_with_experts_goes_on_where_it_stopped(run: Path, mixture: Path) -> None:
    model = load_checkpoint(mixture, run, trainable=True)
    learning = [name for name, one in model.named_parameters() if one.requires_grad]
    assert sum(".experts." in name for name in learning) == 8  # A and B of two stacks, two layers


@slow
def test_the_run_says_what_becomes_of_the_experts(run: Path, said: list[str]) -> None:
    assert run.is_dir()
    assert "the 4 experts in each of 2 layers get LoRA, their routers are not trained" in said


# --- one step ---


@pytest.fixture(scope="module")
def alone(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> FirstStep:
    return take_first_step(make_config(tmp_path_factory.mktemp("step") / "alone"))


@slow
def test_packed_without_logits_and_computed_anew_its_step_is_the_same(
    make_config: MakeConfig, alone: FirstStep, tmp_path: Path
) -> None:
    training = {**PACKED, "objective_backend": "fused", "gradient_checkpointing": True}
    step = take_first_step(make_config(tmp_path / "packed", training=training))
    assert step.row["loss"] == pytest.approx(alone.row["loss"], rel=1e-5)
    assert step.gradients.keys() == alone.gradients.keys()
    assert any(".experts." in name and bool(one.any()) for name, one in step.gradients.items())
    for key, expected in alone.gradients.items():
        error = float((step.gradients[key] - expected).norm())
        assert error < max(2e-5 * float(expected.norm()), 1e-8), key


@slow
def test_a_base_that_asks_for_the_routers_loss_does_not_change_the_objective(
    make_config: MakeConfig, alone: FirstStep, mixture: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(mixture, base)
    config = json.loads((base / "config.json").read_text())
    config["text_config"] |= {"output_router_logits": True, "router_aux_loss_coef": 10.0}
    (base / "config.json").write_text(json.dumps(config))
    changed = make_config(tmp_path / "run", model={"path": str(base)})
    assert take_first_step(changed).row["loss"] == alone.row["loss"]
    notes = notes_of(changed, load_base(base, dtype="auto", attn_implementation="sdpa"))
    assert notes[1].startswith("output_router_logits: true in the base's config.json is turned off")


@slow
def test_a_whole_model_lies_in_its_files_as_the_base_does(
    make_config: MakeConfig, mixture: Path, tmp_path: Path
) -> None:
    tuner = {"train_experts": False, "train_type": "full"}
    once = {"gradient_accumulation_steps": 1, "save_strategy": "steps", "save_steps": 1}
    run = train(make_config(tmp_path / "run", tuner=tuner, training=once))
    before, after, kept = (
        load_file(path / "model.safetensors") for path in (mixture, run, run / "checkpoint-1")
    )
    stacks = [name for name in after if name.endswith(STACKS)]
    assert len(stacks) == 4
    published_turned = load_family(mixture) is QWEN3_VL_MOE
    for name in stacks:
        assert after[name].shape == before[name].shape
        assert (after[name].shape != kept[name].shape) is published_turned
        found = after[name].transpose(1, 2) if published_turned else after[name]
        assert torch.equal(found, kept[name])  # which a run goes on from
    loaded = load_base(run, dtype="auto", attn_implementation="sdpa")
    assert all(torch.equal(loaded.get_parameter(name), kept[name]) for name in stacks)


# --- what is refused, and what is said ---


@pytest.mark.parametrize(
    ("tuner", "message"),
    [
        ({"use_dora": True}, "there is no DoRA for the stacked matrices"),
        ({"lora_dropout": 0.1}, "it goes without lora_dropout"),
        ({"freeze_llm": True}, "the experts are in the language model"),
        ({"train_type": "full"}, "full trains the experts anyway"),
    ],
)
def test_what_experts_cannot_have_is_refused_by_name(
    make_config: MakeConfig, tuner: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"tuner\.train_experts: {message}"):
        make_config(tmp_path, tuner=tuner)


def notes_of(config: Config, model: PreTrainedModel) -> Sequence[str]:
    return experts_note(config, model, load_family(config.model.path))


def adapted(model: Any, family: Path, **changes: Any) -> PeftModel:  # noqa: ANN401
    options = {"towers": ("vision", "language"), "leaves": None, "experts": True, "dropout": 0.0}
    return install_lora(
        model, family=load_family(family), rank=2, alpha=4, use_dora=False, **(options | changes)
    )


def test_a_model_without_experts_has_none_to_train(tiny_base: Path) -> None:
    with pytest.raises(InputError, match="this model of qwen3_vl has no experts"):
        adapted(small_model(), tiny_base)


def test_names_of_layers_that_a_mixture_has_not_are_refused(mixture: Path) -> None:
    model = load_base(mixture, dtype="float32", attn_implementation="sdpa")
    names = ["q_proj", "gate_proj", "up_proj", "down_proj"]
    if load_family(mixture) is QWEN3_VL_MOE:
        with pytest.raises(InputError, match=r"down_proj, gate_proj, up_proj name no .*train_exp"):
            adapted(model, mixture, leaves=names, experts=False)
        adapted(model, mixture, leaves=names[:1], experts=False)
        return
    found = adapted(model, mixture, leaves=names, experts=False)
    mlps = [name for name, _ in found.named_parameters() if ".mlp." in name and "lora_A" in name]
    assert mlps
    assert all(".language_model." not in name or ".shared_expert." in name for name in mlps)


def test_matrices_that_the_family_does_not_know_are_refused_by_name(mixture: Path) -> None:
    model = load_base(mixture, dtype="float32", attn_implementation="sdpa")
    model.get_submodule(f"{LAYERS}.0.mlp.experts").shared = nn.Parameter(torch.zeros(2, 3, 4))
    with pytest.raises(CheckpointError, match=r"1 matrices .*layers\.0\.mlp\.experts\.shared"):
        check_layers(model, load_family(mixture))


@slow
def test_an_adapter_without_experts_is_of_another_make(
    make_config: MakeConfig, run: Path, tmp_path: Path
) -> None:
    tuner = {"resume_adapter": str(run), "train_experts": False}
    with pytest.raises(InputError, match=r"tuner\.train_experts False, there True"):
        take_first_step(make_config(tmp_path / "other", tuner=tuner))


@pytest.mark.parametrize(
    ("tuner", "words"),
    [
        ({}, "and their routers are not trained; tuner.train_experts: true gives"),
        ({"freeze_llm": True}, "are not trained: tuner.freeze_llm is true"),
        ({"train_type": "full"}, "are trained, and nothing balances the experts' load"),
    ],
)
def test_experts_that_get_no_lora_are_not_passed_over_in_silence(
    make_config: MakeConfig, mixture: Path, tuner: dict[str, Any], words: str, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", tuner={"train_experts": False, **tuner})
    model = load_base(mixture, dtype="float32", attn_implementation="sdpa")
    (note,) = notes_of(config, model)
    assert note.startswith("the 4 experts in each of 2 layers ")
    assert words in note


def test_nothing_is_said_of_experts_where_there_are_none(
    make_config: MakeConfig, tiny_base: Path, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", model={"path": str(tiny_base)})
    assert not notes_of(config, small_model())
