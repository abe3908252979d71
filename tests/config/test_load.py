from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.config.load import dump_config, load_config
from coordexp.config.schema import Config, Data, Model, Training
from coordexp.errors import ConfigError

WriteYaml = Callable[..., Path]

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
STARTS = sorted([CONFIGS / "stage1.yaml", *CONFIGS.glob("stage1/*.yaml")])
COMPLETE = sorted([*CONFIGS.glob("dlora/*.yaml"), *STARTS, CONFIGS / "quickstart.yaml"])
PRESETS = sorted(CONFIGS.glob("presets/*.yaml"))
SMALL_DATA = CONFIGS / "small_data.yaml"
HARDWARE = sorted(CONFIGS.glob("hardware/*.yaml"))
PACKAGED = ROOT / "src/coordexp/quickstart/quickstart.yaml"
FILES = [*COMPLETE, *PRESETS, *HARDWARE, SMALL_DATA, PACKAGED]


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path: Path) -> None:
    load_config(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_configuration_fits_on_a_screen(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
@pytest.mark.parametrize("under", [*COMPLETE[:3], STARTS[0]], ids=lambda path: path.stem)
def test_every_preset_lies_over_every_configuration(
    tmp_path: Path, under: Path, preset: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"extends: ['{under}', '{preset}']\n", encoding="utf-8")
    config = load_config(path)
    assert config.custom.coord_tokens.enabled
    assert config.custom.coord_soft_ce_w1.enabled


def test_the_presets_weigh_the_terms_as_designed(tmp_path: Path) -> None:
    weights = {}
    for preset in PRESETS:
        path = tmp_path / "run.yaml"
        path.write_text(f"extends: ['{COMPLETE[0]}', '{preset}']\n", encoding="utf-8")
        loss = load_config(path).custom.coord_soft_ce_w1
        weights[preset.stem] = (
            (loss.ce_weight, loss.soft_ce_weight, loss.w1_weight, loss.gate_weight),
            (loss.w1_unit, loss.w1_target),
        )
    assert weights == {
        "soft": ((0, 1, 1, 1), ("fraction", "soft")),
        "hard": ((1, 0, 0, 1), ("fraction", "soft")),
        "mixed": ((1, 1, 1, 1), ("fraction", "soft")),
        "ntl": ((1, 0, 0.3, 1), ("bins", "one_hot")),
        "grafted": ((0.25, 0, 0, 0.25), ("fraction", "soft")),
    }


def test_stage_1_has_the_values_of_its_specification() -> None:
    config = load_config(ROOT / "configs/dlora/sft_stage1_softce_w1_8b.yaml")
    loss = config.custom.coord_soft_ce_w1
    assert (loss.soft_ce_weight, loss.w1_weight, loss.gate_weight, loss.ce_weight) == (1, 1, 1, 0)
    assert (loss.temperature, loss.target_sigma, loss.target_truncate) == (1.0, 2.0, 16)
    assert config.custom.coord_offset.given_ids() == tuple(range(151670, 152670))
    assert (config.tuner.use_dora, config.tuner.lora_rank) == (True, 16)


@pytest.mark.parametrize("path", STARTS, ids=lambda path: path.stem)
def test_small_data_lie_over_every_start(tmp_path: Path, path: Path) -> None:
    run = tmp_path / "run.yaml"
    run.write_text(f"extends: ['{path}', '{SMALL_DATA}']\n", encoding="utf-8")
    training = load_config(run).training
    assert not training.packing
    assert training.accumulation_steps(world_size=1) == 8
    assert training.detection_eval.steps == 2 * training.save_steps


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: path.stem)
def test_no_shipped_configuration_needs_what_the_install_does_not_bring(path: Path) -> None:
    config = load_config(path)
    assert config.model.attn_implementation == "auto"
    assert (config.deepspeed, config.training.report_to) == (None, "tensorboard")


@pytest.mark.parametrize("path", STARTS, ids=lambda path: path.stem)
def test_a_step_of_a_start_is_the_same_on_one_gpu_and_on_eight(path: Path) -> None:
    config = load_config(path)
    training = config.training
    assert training.effective_batch_size == 8
    assert [training.accumulation_steps(world_size=n) for n in (1, 8)] == [8, 1]
    assert training.packing
    assert config.custom.coord_offset.enabled
    assert (config.tuner.use_dora, config.tuner.lora_rank) == (True, 16)


def test_the_quickstart_is_a_start_that_can_be_laid_over() -> None:
    config = load_config(ROOT / "configs/quickstart.yaml")
    assert config == load_config(PACKAGED)
    assert config.custom.system_prompt is None
    assert config.training.use_cpu
    assert config.custom.coord_offset.enabled
    assert config.custom.coord_offset.tie_head


def test_lists_become_tuples_and_text_becomes_paths(write_yaml: WriteYaml) -> None:
    config = load_config(write_yaml("tuner: {target_modules: [q_proj, v_proj]}"))
    assert config.tuner.target_modules == ("q_proj", "v_proj")
    assert config.model.path == Path("base")


def test_an_unquoted_no_stays_the_word(write_yaml: WriteYaml) -> None:
    config = load_config(write_yaml("training: {eval_strategy: no, report_to: none}"))
    assert config.training.eval_strategy == "no"


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: path.stem)
def test_a_dumped_configuration_loads_as_itself(path: Path, write_yaml: WriteYaml) -> None:
    config = load_config(path)
    again = load_config(write_yaml(dump_config(config), complete=False))
    assert again == config


TRICKY = st.text(min_size=1).filter(lambda text: "{classes}" not in text) | st.sampled_from(
    ["1e-4", "no", "1:30", "010", "~", "2026-01-31", "1.0e4", "0x1F", ".inf", "<<", "=", "é\n- a"]
)


@given(prompt=TRICKY, rate=st.floats(min_value=1e-12, max_value=10))
def test_any_prompt_and_rate_survive_a_dump(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, rate: float
) -> None:
    config = Config.model_validate_json(
        Config.model_construct(
            model=Model(path=Path("base")),
            training=Training(output_dir=Path("out"), learning_rate=rate),
            data=Data(train=Path("train.jsonl")),
        ).model_dump_json()
    )
    custom = config.custom.model_copy(update={"user_prompt": prompt})
    config = config.model_copy(update={"custom": custom})
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


def test_a_checked_configuration_cannot_be_changed(write_yaml: WriteYaml) -> None:
    config = load_config(write_yaml(""))
    with pytest.raises(ValueError, match="frozen"):
        config.training.seed = 1  # type: ignore[misc]


def test_all_problems_come_in_one_message(write_yaml: WriteYaml) -> None:
    path = write_yaml(
        """\
custom:
  coord_soft_ce_w1:
    w1_wieght: 1.0
    temperature: 0
    target_sigma: 1e-4
  coord_loss: {enabled: true}
""",
        "sft_stage1.yaml",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}: 4 problem(s)\n"
        "  custom.coord_soft_ce_w1.w1_wieght: unknown key; did you mean 'w1_weight'?\n"
        "  custom.coord_soft_ce_w1.temperature: Input should be greater than 0 (got 0)\n"
        "  custom.coord_soft_ce_w1.target_sigma: Input should be a valid number (got '1e-4'); "
        "YAML needs a dot: 1.0e-4\n"
        "  custom.coord_loss: removed key; the coord objective is custom.coord_soft_ce_w1"
    )
    assert caught.value.exit_code == 2
