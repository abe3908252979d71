import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from coordexp.config.load import dump_config, load_config
from coordexp.config.schema import Data
from coordexp.config.training import Training
from coordexp.errors import ConfigError

WriteYaml = Callable[..., Path]

COORD = "coord_tokens: {enabled: true}, coord_soft_ce_w1: {enabled: true}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "custom: {coord_tokens: {enabled: true}}",
            "custom.coord_tokens.enabled: coord tokens need custom.coord_soft_ce_w1.enabled: true",
        ),
        (
            "custom: {coord_soft_ce_w1: {enabled: true}}",
            "custom.coord_soft_ce_w1.enabled: .* without custom.coord_tokens.enabled: true",
        ),
        (
            "custom: {coord_offset: {enabled: true}}\n"
            "training: {optimizer: multimodal_coord_offset}",
            "custom.coord_offset.enabled: .* without custom.coord_tokens.enabled: true",
        ),
        (
            f"custom: {{{COORD}, coord_offset: {{enabled: true}}}}\n"
            "training: {optimizer: multimodal}",
            "custom.coord_offset.enabled: .* training.optimizer: multimodal_coord_offset, got "
            "multimodal, .* leave the optimizer out",
        ),
        (
            "training: {optimizer: multimodal_coord_offset}",
            "training.optimizer: .* needs custom.coord_offset.enabled: true",
        ),
        (
            "custom: {coord_offset: {ids: {start: 151670, end: 152670}}}",
            r"custom.coord_offset.ids: .* 1000 bins \(end included\), got 1001",
        ),
        ("custom: {coord_offset: {ids: [1, 2]}}", "custom.coord_offset.ids: .* got 2"),
        (
            "custom: {coord_offset: {ids: {start: 2, end: 1}}}",
            r"custom.coord_offset.ids: end is the last id and not before start; got 2 \.\. 1",
        ),
        ("training: {eval_strategy: steps}", "training.eval_strategy: steps needs data.eval"),
        (
            "training: {detection_eval: {steps: 500}}",
            "training.detection_eval.steps: it needs data.eval",
        ),
        (
            "training: {detection_eval: {patience: 3}}",
            "detection_eval.patience counts evaluations: set detection_eval.steps",
        ),
        (
            "training: {save_steps: 200, detection_eval: {steps: 500}}",
            "detection_eval.steps 500 must be a multiple of save_steps 200",
        ),
        (
            "training: {save_strategy: epoch, detection_eval: {steps: 500}}",
            "it needs save_strategy: steps",
        ),
        (
            "deepspeed: ds.json\n"
            "custom: {instability_monitor: {enabled: true, on_non_finite: skip_step}}",
            "on_non_finite: DeepSpeed moves the weights before a step can be judged; use stop",
        ),
        (
            "tuner: {train_type: full, resume_adapter: a}",
            "tuner.resume_adapter: an adapter needs tuner.train_type: lora",
        ),
        (
            "tuner: {freeze_vit: true, freeze_aligner: true, freeze_llm: true}",
            "tuner: every tower is frozen .* nothing learns",
        ),
        (
            "model: {quantization: nf4}\ntuner: {train_type: full}",
            "model.quantization: weights in four bits cannot learn",
        ),
        (
            "model: {quantization: nf4}\ndeepspeed: zero2.json",
            "model.quantization: it goes without deepspeed",
        ),
        ("model: {quantization: nf4}\nhost: ms_swift", "model.quantization: .* use host: plain"),
        ("model: {quantization: int8}", "model.quantization: .*nf4.*int8"),
        ("training: {bf16: true, fp16: true}", "training: bf16 and fp16 exclude each other"),
        ("training: {warmup_steps: 1.5}", "training: warmup_steps is a whole number .* got 1.5"),
        ("training: {max_steps: 0}", "training: max_steps .* got 0"),
        (
            "training: {effective_batch_size: 4, gradient_accumulation_steps: 2}",
            "training: effective_batch_size sets the accumulation",
        ),
        (
            "training: {effective_batch_size: 5, per_device_train_batch_size: 2}",
            "training: effective_batch_size 5 is no multiple of per_device_train_batch_size 2",
        ),
        ("data: {min_pixels: 9, max_pixels: 4}", "data: min_pixels 9 is more than max_pixels 4"),
        (
            "custom: {coord_tokens: {alphabet: {pattern: '<loc>'}}}",
            "custom.coord_tokens.alphabet: the pattern '<loc>' does not spell",
        ),
        (
            "custom: {coord_tokens: {alphabet: {pattern: '{a}'}}}",
            "custom.coord_tokens.alphabet: the pattern .* needs one field",
        ),
        (
            "host: ms_swift\ndata: {augment: {crop: 0.5}}",
            "data.augment: ms-swift reads each picture its own way; use host: plain",
        ),
        (
            "data: {augment: {colour: 0.5}}\ntraining: {global_max_length: 100}",
            "data.augment: plain integers change an answer's length",
        ),
        (
            "data: {augment: {flip_up_down: 0.5}}\ncustom: {user_prompt: From top to bottom.}",
            "data.augment.flip_up_down: the prompts of custom say on which side something is",
        ),
        ("data: {augment: {crop_least_side: 0.0}}", "data.augment.crop_least_side: .*greater than"),
        ("custom: {user_prompt: 'Find {classes}.'}", "custom: user_prompt asks for {classes}"),
        ("custom: {classes: [cat]}", "custom: classes is given, and user_prompt has no {classes}"),
        (
            "custom: {class_list: {}, user_prompt: 'Find {classes}.', classes: [cat]}",
            "custom: classes names the same ones each time, class_list others; give one",
        ),
        (
            "custom: {class_list: {}, user_prompt: Find all.}",
            "custom: class_list is given, and user_prompt has no {classes}",
        ),
        ("custom: {class_list: {source: file}}", "custom.class_list: source: file and file: PATH"),
        ("custom: {class_list: {file: a.txt}}", "custom.class_list: source: file and file: PATH"),
        (
            "custom: {class_list: {}}\nhost: ms_swift",
            "custom.class_list: ms-swift is given each record's question once",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    write_yaml: WriteYaml, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        load_config(write_yaml(text))
    assert "1 problem(s)" in str(caught.value)


def test_every_broken_rule_is_reported_at_once(write_yaml: WriteYaml) -> None:
    text = (
        "tuner: {train_type: full, resume_adapter: old}\ncustom: {coord_tokens: {enabled: true}}\n"
        "training: {eval_strategy: epoch}"
    )
    with pytest.raises(ConfigError, match=r"3 problem\(s\)"):
        load_config(write_yaml(text))


def test_skip_bbox_norm_parses_on_the_plain_host(write_yaml: WriteYaml) -> None:
    config = load_config(write_yaml("custom: {coord_tokens: {skip_bbox_norm: false}}"))
    assert config.host == "plain"
    assert not config.custom.coord_tokens.skip_bbox_norm


def test_what_changes_nothing_is_no_augmentation(write_yaml: WriteYaml) -> None:
    swift = "host: ms_swift\ndata: {augment: {crop_least_side: 0.2, least_visible: 0.5}}"
    assert load_config(write_yaml(swift)).data.augment.to_augmentation() is None
    turned = "data: {augment: {flip_left_right: 0.5}}\ncustom: {user_prompt: From top to bottom.}"
    assert load_config(write_yaml(turned)).data.augment.to_augmentation() is not None


OFFSETS = f"custom: {{{COORD}, coord_offset: {{enabled: true}}}}"


@pytest.mark.parametrize("left_out", ["", "training: {optimizer: null}"])
@pytest.mark.parametrize(
    ("custom", "name"), [(OFFSETS, "multimodal_coord_offset"), ("", "multimodal")]
)
def test_an_optimizer_that_is_left_out_follows_the_offsets(
    write_yaml: WriteYaml, custom: str, left_out: str, name: str
) -> None:
    config = load_config(write_yaml(f"{custom}\n{left_out}"))
    assert config.training.optimizer == name
    assert config == load_config(write_yaml(f"{custom}\ntraining: {{optimizer: {name}}}"))


def test_a_saved_configuration_names_the_optimizer(write_yaml: WriteYaml) -> None:
    config = load_config(write_yaml(OFFSETS))
    assert "optimizer: multimodal_coord_offset" in dump_config(config)
    assert load_config(write_yaml(dump_config(config), "saved.yaml", complete=False)) == config


def test_head_lr_is_accepted_beside_a_tied_head(write_yaml: WriteYaml) -> None:
    text = f"""\
custom: {{{COORD}, coord_offset: {{enabled: true, head_lr: 1.0e-4}}}}
training: {{optimizer: multimodal_coord_offset}}
"""
    assert load_config(write_yaml(text)).custom.coord_offset.head_lr == 1e-4


def test_another_alphabet_is_configuration(write_yaml: WriteYaml) -> None:
    text = """\
custom:
  coord_tokens: {alphabet: {pattern: '<loc{:04d}>', bins: 1024, wildcard: null}}
  coord_offset: {ids: {start: 256000, end: 257023}}
"""
    custom = load_config(write_yaml(text)).custom
    assert custom.coord_tokens.alphabet.to_alphabet().token(7) == "<loc0007>"
    ids = custom.coord_offset.given_ids()
    assert ids is not None
    assert len(ids) == 1024


def test_a_radius_of_zero_is_one_hot(write_yaml: WriteYaml) -> None:
    block = "custom: {coord_tokens: {enabled: true}, coord_soft_ce_w1: {enabled: true, KEY}}"
    zero = load_config(str(write_yaml(block.replace("KEY", "target_truncate: 0"))))
    assert zero.custom.coord_soft_ce_w1.target_truncate == 0
    with pytest.raises(ConfigError, match=r"target_truncate: .*greater than or equal to 0"):
        load_config(write_yaml(block.replace("KEY", "target_truncate: -1")))


def test_truncation_can_be_switched_off(write_yaml: WriteYaml) -> None:
    config = load_config(write_yaml("custom: {coord_soft_ce_w1: {target_truncate: null}}"))
    assert config.custom.coord_soft_ce_w1.target_truncate is None


def test_classes_are_written_into_the_question(write_yaml: WriteYaml) -> None:
    text = "custom: {user_prompt: 'Find {classes} as {\"desc\"}.', classes: [cat, dog]}"
    assert load_config(write_yaml(text)).custom.question(()) == 'Find cat, dog as {"desc"}.'


def test_a_class_list_leaves_a_place_in_the_question(write_yaml: WriteYaml) -> None:
    custom = load_config(write_yaml("custom: {class_list: {}}")).custom
    question = custom.class_question(["line"])
    assert question is not None
    assert "of these classes in the image: {classes}. Answer" in question
    assert '"line"' in question
    assert custom.question(["line"], listed=["cat", "dog"]) == question.replace(
        "{classes}", "cat, dog"
    )
    text = "custom: {class_list: {}, user_prompt: 'Find {classes}.'}"
    assert load_config(write_yaml(text)).custom.class_question(()) == "Find {classes}."


def test_accumulation_is_derived_from_the_effective_batch(write_yaml: WriteYaml) -> None:
    text = "training: {effective_batch_size: 32, per_device_train_batch_size: 2}"
    training = load_config(write_yaml(text)).training
    assert training.accumulation_steps(world_size=1) == 16
    assert training.accumulation_steps(world_size=8) == 2
    with pytest.raises(ConfigError, match=r"32 is no multiple of .* 2 on 3 device\(s\)"):
        training.accumulation_steps(world_size=3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("packing: true", "packing needs global_max_length"),
        (
            "packing: true, global_max_length: 99, per_device_train_batch_size: 2",
            "per_device_train_batch_size must be 1 with packing, got 2: a pack is one row",
        ),
        (
            "packing: true, global_max_length: 99, per_device_eval_batch_size: 4",
            "per_device_eval_batch_size must be 1 with packing",
        ),
        ("packing_min_fill_ratio: 1.0", "less than 1"),
        ("overlong: cut", "'drop' or 'fail'"),
    ],
)
def test_packing_that_cannot_be_is_refused(write_yaml: WriteYaml, keys: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write_yaml(f"training: {{{keys}}}"))


def test_an_evaluation_may_be_padded_beside_packed_training(write_yaml: WriteYaml) -> None:
    keys = "packing: true, global_max_length: 99, eval_packing: false"
    text = f"training: {{{keys}, per_device_eval_batch_size: 4}}"
    training = load_config(write_yaml(text)).training
    assert training.packs(training=True)
    assert not training.packs(training=False)
    assert not load_config(write_yaml("")).training.packs(training=True)


def test_accumulation_defaults_to_one_pass(write_yaml: WriteYaml) -> None:
    assert load_config(write_yaml("")).training.accumulation_steps(world_size=4) == 1


@pytest.mark.slow
def test_training_keys_are_transformers_own_names() -> None:
    transformers = pytest.importorskip("transformers")
    ours = {
        "detection_eval",
        "effective_batch_size",
        "vit_lr",
        "aligner_lr",
        "optimizer",
        "objective_backend",
        "global_max_length",
        "overlong",
        "packing",
        "packing_buffer",
        "packing_min_fill_ratio",
        "packing_drop_last",
        "eval_packing",
    }
    theirs = set(transformers.TrainingArguments.__dataclass_fields__)
    assert set(Training.model_fields) - theirs == ours


def test_a_mix_stands_in_place_of_one_training_file(tmp_path: Path) -> None:
    block = {"mix": [{"path": "a.jsonl"}, {"path": "b.jsonl", "weight": 2.5}]}
    parts = Data.model_validate_json(json.dumps(block)).parts
    assert [(part.path.name, part.weight) for part in parts] == [("a.jsonl", 1.0), ("b.jsonl", 2.5)]
    (only,) = Data(train=tmp_path / "c.jsonl").parts
    assert (only.path, only.weight) == (tmp_path / "c.jsonl", 1.0)
    for wrong in ({}, {"train": "c.jsonl", **block}):
        with pytest.raises(ValidationError, match=r"expected one of train .* and mix"):
            Data.model_validate_json(json.dumps(wrong))
    for weight in (0, -1):
        with pytest.raises(ValidationError, match="greater than 0"):
            Data.model_validate_json(json.dumps({"mix": [{"path": "a", "weight": weight}]}))
