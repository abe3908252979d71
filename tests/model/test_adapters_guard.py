"""What those meet who open our adapters with PEFT or transformers alone."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.model.adapters import GUARD, load_lora_config
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.load import load_checkpoint
from tests.model.checkpoints import make_adapted, open_fp32, save
from tests.model.test_coord_offset import logits_of

TOKENS = torch.tensor([[3, 400, 5, 900, 7]])


def saved_request(path: Path) -> object:
    return json.loads((path / "adapter_config.json").read_text())["trainable_token_indices"]


def test_plain_peft_refuses_an_adapter_with_offsets(bases: dict[bool, Path], saved: Path) -> None:
    with pytest.raises(ValueError, match=r"load_with_coordexp.* not found in the base model"):
        PeftModel.from_pretrained(open_fp32(bases[True]), str(saved))


def test_transformers_refuses_it_too(bases: dict[bool, Path], saved: Path) -> None:
    model = open_fp32(bases[True])
    with pytest.raises(ValueError, match="load_with_coordexp"):
        model.load_adapter(str(saved))
    config = json.loads((saved / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(bases[True])
    (saved / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="load_with_coordexp"):
        AutoModelForImageTextToText.from_pretrained(saved)


def test_the_wrappers_alone_do_not_open_it_either(
    bases: dict[bool, Path], saved: Path, vocab: CoordVocab
) -> None:
    """`load_checkpoint` also compares base and tokenizer, so there is no way around it."""
    model = open_fp32(bases[True])
    install_coord_offset_adapter(model, coord_ids=vocab.ids, tie_head=True)
    with pytest.raises(ValueError, match="load_with_coordexp"):
        PeftModel.from_pretrained(model, str(saved))


def test_the_guard_leaves_nothing_in_the_model(bases: dict[bool, Path], saved: Path) -> None:
    restored = load_checkpoint(bases[True], saved, dtype="float32", trainable=True)
    names = [*dict(restored.named_modules()), *restored.state_dict()]
    assert not [name for name in names if "load_with_coordexp" in name or "token_adapter" in name]
    assert load_lora_config(saved).trainable_token_indices is None


def test_a_restored_adapter_is_saved_with_its_guard(
    bases: dict[bool, Path], saved: Path, tmp_path: Path
) -> None:
    restored = load_checkpoint(bases[True], saved, dtype="float32").eval()
    restored.save_pretrained(tmp_path / "again")
    assert saved_request(saved) == saved_request(tmp_path / "again") == GUARD


def test_a_running_model_takes_its_own_weights_back(bases: dict[bool, Path], saved: Path) -> None:
    """This is how transformers' Trainer resumes a run and goes back to the best checkpoint."""
    restored = load_checkpoint(bases[True], saved, dtype="float32").eval()
    expected = logits_of(restored, TOKENS)
    with torch.no_grad():
        for name, parameter in restored.named_parameters():
            if "lora_" in name or "coord_offset" in name:
                parameter.add_(1.0)
    assert not torch.equal(logits_of(restored, TOKENS), expected)
    restored.load_adapter(str(saved), "default", is_trainable=True)
    restored.eval()
    assert torch.equal(logits_of(restored, TOKENS), expected)


def test_an_adapter_without_offsets_is_open_to_everyone(
    bases: dict[bool, Path], vocab: CoordVocab, tmp_path: Path
) -> None:
    model, card = make_adapted(bases[True], vocab, tie_head=None)
    path = save(model, card, tmp_path / "lora")
    assert saved_request(path) is None
    plain = PeftModel.from_pretrained(open_fp32(bases[True]), str(path)).eval()
    assert torch.equal(logits_of(plain, TOKENS), logits_of(model, TOKENS))


def test_without_the_guard_offsets_would_vanish_in_silence(
    bases: dict[bool, Path], saved: Path
) -> None:
    """The day this fails, PEFT has learned to object by itself."""
    config = json.loads((saved / "adapter_config.json").read_text())
    config["trainable_token_indices"] = None
    (saved / "adapter_config.json").write_text(json.dumps(config))
    ours = load_checkpoint(bases[True], saved, dtype="float32").eval()
    plain = PeftModel.from_pretrained(open_fp32(bases[True]), str(saved)).eval()
    assert (logits_of(ours, TOKENS) - logits_of(plain, TOKENS)).abs().max() > 1
