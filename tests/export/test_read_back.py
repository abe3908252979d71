"""A fault in every kind of thing that merging writes, planted in the files and refused by name."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from coordexp.errors import CoordExpError
from coordexp.export.base_layout import load_base_layout
from coordexp.export.certify import Merge, read_files_back
from coordexp.export.expected import Expected, load_expected
from coordexp.export.merge import merge_checkpoint
from coordexp.model.card import load_weights_card
from coordexp.model.shards import bytes_of, load_weights
from tests.export.cases import Case, Cases, MakePath

EMBEDDING, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"
FIRST = 389  # <|coord_0|> of the small bases
Merged = Callable[..., Merge]


@pytest.fixture(scope="session")
def merges(
    cases: Cases,
    small_bases: MakePath,
    on_base: MakePath,
    tmp_path_factory: pytest.TempPathFactory,
) -> Merged:
    """Return a finished merge, made once; nobody may change it."""
    out = tmp_path_factory.mktemp("merges")

    @cache
    def merged(tied: bool, tie_head: bool, use_dora: bool, dtype: str, sharded: bool) -> Merge:
        case: Case = cases(tied=tied, tie_head=tie_head, use_dora=use_dora)
        base = small_bases(tied=tied, dtype=dtype, sharded=sharded)
        name = f"{tied}-{tie_head}-{use_dora}-{dtype}-{sharded}"
        adapter = on_base(case.adapter, base, out / f"{name}-adapter")
        merge_checkpoint(adapter, out / name, certify=False)
        (out / name / "README.md").unlink()  # it comes after certifying
        ids = load_weights_card(adapter).coord_ids
        return Merge(base, adapter, out / name, load_base_layout(base), ids)

    def merge(
        *, tied: bool, tie_head: bool, use_dora: bool, dtype: str = "float32", sharded: bool = False
    ) -> Merge:
        return merged(tied, tie_head, use_dora, dtype, sharded)

    return merge


@pytest.fixture
def copied(merges: Merged, tmp_path: Path) -> Merged:
    """Return a merge whose files may be changed."""

    def copy(**kind: object) -> Merge:
        merge = merges(**kind)
        shutil.copytree(merge.merged, tmp_path / "merged")
        return Merge(
            merge.base, merge.checkpoint, tmp_path / "merged", merge.layout, merge.coord_ids
        )

    return copy


def expected_of(merge: Merge) -> Expected:
    return load_expected(merge.layout, merge.checkpoint)


def refusal(merge: Merge) -> str:
    with pytest.raises(CoordExpError) as raised:
        read_files_back(merge, expected_of(merge))
    assert raised.value.exit_code == 1
    return str(raised.value)


def change(merge: Merge, name: str, edit: Callable[[Tensor], object]) -> None:
    """Change a tensor where it lies in its file."""
    stored = load_weights(merge.merged).by_name[name]
    tensor = stored.load()
    edit(tensor)
    with stored.file.open("r+b") as file:
        file.seek(stored.start)
        file.write(bytes_of(tensor))


def nudge(row: int, column: int = 0) -> Callable[[Tensor], object]:
    """Move one number by the smallest step that there is."""

    def edit(tensor: Tensor) -> None:
        bits = tensor.view(torch.int16 if tensor.itemsize == 2 else torch.int32)
        bits[row, column] += 1

    return edit


LORA = {"tied": False, "tie_head": True, "use_dora": False}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("tie_head", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_what_merging_writes_is_what_must_be_there(
    tied: bool, tie_head: bool, use_dora: bool, dtype: str, merges: Merged
) -> None:
    merge = merges(
        tied=tied, tie_head=tie_head, use_dora=use_dora, dtype=dtype, sharded=dtype == "bfloat16"
    )
    found, files = read_files_back(merge, expected_of(merge))
    tables = {EMBEDDING} if tied and tie_head else {EMBEDDING, HEAD}
    assert found.coord_rows_exact == dict.fromkeys(tables, 1000)
    assert found.other_rows_equal == dict.fromkeys(tables, 408)
    assert found.tensors == found.equal + found.merged_layers + len(tables)
    # Rounding a number next to the middle between two steps takes all that rounding may.
    assert 0.1 < found.farthest_layer <= 1
    assert files >= 6


WRONG_SUM = "is not base + offset, rounded once"
CHANGED = "differs from the base where it must not"
ROWS = {
    FIRST: ("<|coord_0|>", WRONG_SUM),
    FIRST + 517: ("<|coord_517|>", WRONG_SUM),
    FIRST + 999: ("<|coord_999|>", WRONG_SUM),
    FIRST - 1: ("<|coord_*|>", CHANGED),
    7: ("", CHANGED),  # text
    1407: ("padding", CHANGED),
}


@pytest.mark.parametrize(
    ("tied", "tie_head", "table"),
    [
        (True, True, EMBEDDING),
        (True, False, EMBEDDING),
        (True, False, HEAD),
        (False, True, EMBEDDING),
        (False, True, HEAD),
        (False, False, EMBEDDING),
        (False, False, HEAD),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_of_any_kind_that_is_one_step_off_is_refused(
    dtype: str, tied: bool, tie_head: bool, table: str, copied: Merged
) -> None:
    merge = copied(tied=tied, tie_head=tie_head, use_dora=False, dtype=dtype)
    assert merge.coord_ids == (FIRST, FIRST + 999)
    for row, (token, what) in ROWS.items():
        pristine = load_weights(merge.merged).by_name[table].load()
        change(merge, table, nudge(row, 3))
        message = refusal(merge)
        assert f"{table}: row {row} ({token}" in message
        assert what in message
        assert message.count("\n") == 1
        change(merge, table, lambda tensor, kept=pristine: tensor.copy_(kept))


def layers(merge: Merge) -> list[str]:
    return sorted(expected_of(merge).layers)


def test_every_kind_of_layer_is_among_them(merges: Merged) -> None:
    names = " ".join(layers(merges(**LORA)))
    for part in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
        assert (
            f"language_model.layers.0.{'mlp' if part[0] in 'gud' else 'self_attn'}.{part}" in names
        )
    for part in ("attn.qkv", "attn.proj", "mlp.linear_fc1", "mlp.linear_fc2"):
        assert f"visual.blocks.0.{part}" in names
    for part in ("merger", "deepstack_merger_list.0"):
        assert f"visual.{part}.linear_fc1" in names
        assert f"visual.{part}.linear_fc2" in names


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_layer_that_is_not_merged_is_refused(
    dtype: str, use_dora: bool, copied: Merged
) -> None:
    merge = copied(tied=False, tie_head=True, use_dora=use_dora, dtype=dtype)
    before = load_weights(merge.base).by_name
    names = layers(merge)
    for name in names:
        change(merge, name, lambda tensor, name=name: tensor.copy_(before[name].load()))
    message = refusal(merge)
    kind = "DoRA" if use_dora else "LoRA"
    for name in names[:19]:
        assert f"{name}: is not the base with {kind} merged" in message
    assert len(names) <= 19 or f"and {len(names) - 20} more" in message


@pytest.mark.slow
@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_number_of_any_layer_that_is_off_is_refused(
    dtype: str, use_dora: bool, copied: Merged
) -> None:
    merge = copied(tied=False, tie_head=True, use_dora=use_dora, dtype=dtype)
    names = layers(merge)
    step = torch.finfo(getattr(torch, dtype)).eps

    def spoil(tensor: Tensor) -> None:
        row = len(tensor) // 2
        # In float32 as many roundings are allowed as a sum has terms, and DoRA's norm has a row's.
        factor = 2 if tensor.dtype == torch.bfloat16 else 512 if use_dora else 64
        tensor[row, tensor[row].abs().argmax()] *= 1 + factor * step

    for name in names:
        pristine = load_weights(merge.merged).by_name[name].load()
        change(merge, name, spoil)
        message = refusal(merge)
        assert f"{name}: is not the base with" in message
        assert message.count("\n") == 1
        change(merge, name, lambda tensor, kept=pristine: tensor.copy_(kept))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_forgotten_magnitude_is_refused(dtype: str, copied: Merged) -> None:
    merge = copied(tied=True, tie_head=True, use_dora=True, dtype=dtype)
    before, factors = load_weights(merge.base).by_name, expected_of(merge).layers
    for name in layers(merge)[:10]:
        layer = factors[name]
        plain = before[name].load().double() + layer.scale * layer.b @ layer.a
        change(merge, name, lambda tensor, plain=plain: tensor.copy_(plain))
        assert f"{name}: is not the base with DoRA merged" in refusal(merge)


def test_a_number_that_is_none_is_refused(copied: Merged) -> None:
    merge = copied(**LORA)
    name = layers(merge)[3]
    change(merge, name, lambda tensor: tensor[1].fill_(torch.nan))
    assert f"{name}: is not the base with LoRA merged" in refusal(merge)


@pytest.mark.slow
def test_every_other_tensor_is_the_bases(copied: Merged) -> None:
    merge = copied(**LORA)
    others = load_weights(merge.merged).by_name.keys() - {*layers(merge), EMBEDDING, HEAD}
    assert any(name.endswith("q_norm.weight") for name in others)
    assert any(name.endswith("attn.qkv.bias") for name in others)
    assert any(name.endswith("patch_embed.proj.weight") for name in others)
    for name in sorted(others):
        stored = load_weights(merge.merged).by_name[name]
        with stored.file.open("r+b") as file:
            file.seek(stored.start + stored.num_bytes - 4)
            last = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([last[0] ^ 1]))
            assert f"{name}: differs from the base" in refusal_after(file, merge)
            file.seek(stored.start + stored.num_bytes - 4)
            file.write(last)


def refusal_after(file: object, merge: Merge) -> str:
    file.flush()  # type: ignore[attr-defined]
    return refusal(merge)


def rewrite(merge: Merge, edit: Callable[[dict[str, Tensor]], object]) -> None:
    path = merge.merged / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


NORM = "model.language_model.norm.weight"


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda x: x.pop(NORM), f"{NORM}: is missing"),
        (lambda x: x.pop(HEAD), f"{HEAD}: is missing"),
        (
            lambda x: x.update(strange=torch.ones(2)),
            "strange: is neither the base's nor made by merging",
        ),
        (
            lambda x: x.update({NORM: x[NORM].half()}),
            f"{NORM}: is F16 [192]; expected F32 [192]",
        ),
        (
            lambda x: x.update({HEAD: x[HEAD][:-1].clone()}),
            f"{HEAD}: is F32 [1407, 192]; expected F32 [1408, 192]",
        ),
    ],
    ids=["missing", "missing head", "too many", "another type", "another shape"],
)
def test_the_set_of_tensors_is_that_of_the_base(
    edit: Callable[[dict[str, Tensor]], object], problem: str, copied: Merged
) -> None:
    merge = copied(**LORA)
    rewrite(merge, edit)
    assert problem in refusal(merge)


def test_a_tied_model_gets_no_second_table(copied: Merged) -> None:
    merge = copied(tied=True, tie_head=True, use_dora=False)
    rewrite(merge, lambda tensors: tensors.update({HEAD: tensors[EMBEDDING].clone()}))
    assert f"{HEAD}: is neither the base's nor made by merging" in refusal(merge)


def test_an_index_that_is_wrong_is_refused(copied: Merged) -> None:
    merge = copied(tied=False, tie_head=True, use_dora=False, dtype="bfloat16", sharded=True)
    path = merge.merged / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    first, second = sorted(set(index["weight_map"].values()))[:2]
    index["weight_map"][NORM] = first if index["weight_map"][NORM] == second else second
    path.write_text(json.dumps(index))
    assert f"model.safetensors.index.json: is wrong about {NORM}" in refusal(merge)


def edit_json(path: Path, *keys: str, value: object) -> None:
    content = json.loads(path.read_text())
    block = content
    for key in keys[:-1]:
        block = block[key]
    block[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("tie_word_embeddings",), True),
        (("text_config", "tie_word_embeddings"), True),
        (("text_config", "vocab_size"), 1400),
        (("dtype",), "float16"),
        (("vision_config", "depth"), 9),
        (("strange",), 1),
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_a_configuration_that_says_something_else_is_refused(
    split: bool, keys: tuple[str, ...], value: object, copied: Merged
) -> None:
    merge = copied(tied=split, tie_head=False, use_dora=False)
    edit_json(merge.merged / "config.json", *keys, value=value)
    message = refusal(merge)
    assert "config.json: " in message
    assert ".".join(keys) in message


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "video_preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ],
)
@pytest.mark.parametrize("kind", ["changed", "missing"])
def test_every_file_of_the_base_is_there_as_it_was(kind: str, name: str, copied: Merged) -> None:
    merge = copied(**LORA)
    path = merge.merged / name
    if kind == "missing":
        path.unlink()
        assert f"{name}: is missing" in refusal(merge)
    else:
        path.write_bytes(path.read_bytes() + b" ")
        assert f"{name}: differs from the base's" in refusal(merge)


def test_a_file_that_nobody_asked_for_is_refused(copied: Merged) -> None:
    merge = copied(**LORA)
    (merge.merged / "pytorch_model.bin").touch()
    assert "pytorch_model.bin: is neither the base's nor made by merging" in refusal(merge)


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        (("style", "user_prompt"), "Find.", "another style than the adapter's"),
        (("weights", "coord_ids"), [1, 1000], "other coord ids than the adapter's"),
        (("weights", "tokenizer"), "another", "another tokenizer"),
        (("weights", "base"), "somewhere", "says that it needs a base"),
    ],
)
def test_a_card_that_says_something_else_is_refused(
    keys: tuple[str, ...], value: object, problem: str, copied: Merged
) -> None:
    merge = copied(**LORA)
    edit_json(merge.merged / "coordexp.json", *keys, value=value)
    assert f"coordexp.json: {problem}" in refusal(merge) or problem in refusal(merge)
