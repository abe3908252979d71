"""What `TrainerSeams` relies on in transformers' Trainer, method by method.

A new transformers that does one of these things differently fails here by the method's name, and
not in the losses of somebody's run. Sources are compared as `ast.unparse` writes them, so that
comments, quotes, brackets and line breaks do not count; pieces must come in the given order.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer_callback import CallbackHandler

import coordexp.integrations.ms_swift
import coordexp.training
from coordexp.training.loop.seams import TrainerSeams
from coordexp.training.loop.trainer import CoordSoftCEW1LossMixin, CoordTrainer


@dataclass(frozen=True)
class Contract:
    """What is relied on in a method of transformers' Trainer.

    Args:
        parameters: Its own, without `self`, as they are written.
        why: What we do there.
        body: What it does, in this order.
        callers: By whom it is called, and what they do around it, in this order.
    """

    parameters: str
    why: str
    body: tuple[str, ...] = ()
    callers: dict[str, tuple[str, ...]] = field(default_factory=dict)


STEP = (
    "self.get_batch_samples(epoch_iterator, num_batches, self.args.device)",
    "self.training_step(model, inputs, num_items_in_batch)",
    "self._tr_loss += tr_loss_step",
    "grad_norm = self._clip_grad_norm(model)",
    "grad_norm = self._get_grad_norm(model, grad_norm=grad_norm)",
    "self.callback_handler.on_pre_optimizer_step(",
    "self.optimizer.step()",
    "model.zero_grad()",
    "self.state.global_step += 1",
    "self.callback_handler.on_step_end(",
    "self._maybe_log_save_evaluate(",
    "self.callback_handler.on_epoch_end(",
    "self._maybe_log_save_evaluate(",
)
LOOP = (
    "train_dataloader = self.get_train_dataloader()",
    "max_steps = self.set_initial_training_values(args, train_dataloader)",
    "self._init_training_state(max_steps, num_update_steps_per_epoch, num_train_epochs, "
    "resume_from_checkpoint, trial)",
    "self._prepare_for_training(",
    "start_time = time.time()",
    "self._tr_loss = torch.tensor(0.0",
    "self._total_loss_scalar = 0.0",
    "self._globalstep_last_logged = self.state.global_step",
    "self.callback_handler.on_train_begin(",
    "for epoch in range(epochs_trained, num_train_epochs):",
    "self._run_epoch(",
    "return self._finalize_training(trial, num_train_samples, start_time)",
)
SAVED = (
    "self.log(logs, start_time)",
    "self._evaluate(trial, ignore_keys_for_eval)",
    "if self.control.should_save:",
    "self._save_checkpoint(model, trial)",
    "self.callback_handler.on_save(",
)

CONTRACTS = {
    "get_train_dataloader": Contract(
        "",
        "our loader stands in place of one that accelerate would prepare, and nobody prepares it",
        callers={"_inner_training_loop": LOOP},
    ),
    "get_eval_dataloader": Contract(
        "eval_dataset=None",
        "the same for evaluations",
        callers={"evaluate": ("self.get_eval_dataloader(eval_dataset)", "self.evaluation_loop(")},
    ),
    "set_initial_training_values": Contract(
        "args, dataloader",
        "four of its seven figures are the plan's",
        body=(
            "return (num_train_epochs, num_update_steps_per_epoch, num_examples, "
            "num_train_samples, total_train_batch_size, steps_in_epoch, max_steps)",
        ),
        callers={
            "_inner_training_loop": (
                "num_train_epochs, num_update_steps_per_epoch, num_examples, num_train_samples, "
                "total_train_batch_size, steps_in_epoch, max_steps) = "
                "self.set_initial_training_values(args, train_dataloader)",
            )
        },
    ),
    "_init_training_state": Contract(
        "max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial",
        "a resumed run goes on where the plan says, and notes where it came from",
        body=(
            "self.state = TrainerState.load_from_json(",
            "self.state.init_training_references(self, max_steps, num_train_epochs, trial)",
            "return (epochs_trained, steps_trained_in_current_epoch)",
        ),
        callers={"_inner_training_loop": LOOP},
    ),
    "_run_epoch": Contract(
        "model, epoch, train_dataloader, steps_in_epoch, num_update_steps_per_epoch, trial, "
        "ignore_keys_for_eval, start_time, resume_from_checkpoint, epochs_trained, "
        "steps_trained_in_current_epoch",
        "the sampler turns to the epoch before it is asked; each epoch has its own length",
        body=(
            "skip_first_batches(train_dataloader, steps_trained_in_current_epoch)",
            "epoch_iterator = iter(train_dataloader)",
            "remainder = steps_in_epoch % self.args.gradient_accumulation_steps",
            "range(num_update_steps_trained, num_update_steps_per_epoch)",
            "step + 1 == steps_in_epoch",
            "self.state.epoch = epoch + (step + 1) / steps_in_epoch",
        ),
        callers={
            "_inner_training_loop": (
                "self._run_epoch(model=model, epoch=epoch,",
                "steps_in_epoch=steps_in_epoch",
                "num_update_steps_per_epoch=num_update_steps_per_epoch",
            )
        },
    ),
    "get_batch_samples": Contract(
        "epoch_iterator, num_batches, device",
        "the time that records take to come is measured, in the iterator",
        body=("next(epoch_iterator)", "except StopIteration", "return (batch_samples, num_items"),
        callers={"_run_epoch": STEP},
    ),
    "_get_num_items_in_batch": Contract(
        "batch_samples, device",
        "two counts in place of one, which travel unread to the model's loss function",
        callers={
            "get_batch_samples": (
                "num_items_in_batch = self._get_num_items_in_batch(batch_samples, device)",
                "return (batch_samples, num_items_in_batch)",
            ),
            "training_step": (
                "self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)",
            ),
        },
    ),
    "training_step": Contract(
        "model, inputs, num_items_in_batch=None",
        "clocks stand around it; the loss is not divided by the accumulation once more",
        body=(
            "model.train()",
            "inputs = self._prepare_inputs(inputs)",
            "loss = self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)",
            "self.model_accepts_loss_kwargs",
            "loss = loss / self.current_gradient_accumulation_steps",
            "self.accelerator.backward(loss",
            "return loss.detach()",
        ),
        callers={"_run_epoch": STEP},
    ),
    "compute_loss": Contract(
        "model, inputs, return_outputs=False, num_items_in_batch=None",
        "the head emits hidden states for the length of the model's call; the loss of each rank is "
        "multiplied by their number, because DDP averages",
        body=(
            "if self.model_accepts_loss_kwargs:",
            "kwargs['num_items_in_batch'] = num_items_in_batch",
            "outputs = model(**inputs)",
            "self.args.average_tokens_across_devices",
            "self.accelerator.num_processes",
            "return (loss, outputs) if return_outputs else loss",
        ),
        callers={
            "training_step": ("self.compute_loss(model, inputs, num_items_in_batch=",),
            "prediction_step": ("self.compute_loss(model, inputs, return_outputs=True",),
        },
    ),
    "prediction_step": Contract(
        "model, inputs, prediction_loss_only, ignore_keys=None",
        "the loss is asked for alone, because there are no logits",
        body=("if prediction_loss_only: return (loss, None, None)",),
        callers={
            "evaluation_loop": (
                "self.prediction_step(model, inputs, prediction_loss_only, ignore_keys",
            )
        },
    ),
    "create_optimizer": Contract(
        "model=None",
        "the groups are ours; it is called before the model is wrapped, or with FSDP1 behind it",
        body=("if self.optimizer is None:", "return self.optimizer"),
        callers={
            "_prepare_for_training": (
                "self.create_optimizer()",
                "model = self._wrap_model(self.model_wrapped)",
                "self.accelerator.prepare(self.model, self.optimizer)",
                "self.create_scheduler(",
                "setattr(self.callback_handler, attr, getattr(self, attr))",
            )
        },
    ),
    "_get_grad_norm": Contract(
        "model, grad_norm=None",
        "the judge needs the length of the gradient before the weights are moved",
        body=("self.accelerator.clip_grad_norm_(model.parameters(), ", "return grad_norm"),
        callers={"_run_epoch": STEP},
    ),
    "log": Contract(
        "logs, start_time=None",
        "our figures join the rows of training, which are those that hold `loss`",
        body=(
            "self.state.log_history.append(output)",
            "self.callback_handler.on_log(self.args, self.state, self.control, logs)",
        ),
        callers={
            "_maybe_log_save_evaluate": (
                "tr_loss -= tr_loss",
                "logs['loss'] = ",
                "self._total_loss_scalar += tr_loss_scalar",
                "self._globalstep_last_logged = self.state.global_step",
                "self.log(logs, start_time)",
            )
        },
    ),
    "evaluation_loop": Contract(
        "dataloader, description, prediction_loss_only=None, ignore_keys=None, "
        "metric_key_prefix='eval'",
        "the figures of an evaluation are ours, and its loss too",
        body=("self.prediction_step(", "return EvalLoopOutput("),
        callers={
            "evaluate": (
                "output = self.evaluation_loop(",
                "metric_key_prefix=metric_key_prefix",
                "self.log(output.metrics)",
            ),
        },
    ),
    "_save_checkpoint": Contract(
        "model, trial",
        "it is written elsewhere and renamed when it is whole, states of this rank included; "
        "`on_save` comes after that",
        body=(
            "checkpoint_folder = f'{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}'",
            "run_dir = self._get_output_dir(trial=trial)",
            "output_dir = os.path.join(run_dir, checkpoint_folder)",
            "self.save_model(output_dir, _internal_call=True)",
            "self._save_optimizer_and_scheduler(output_dir)",
            "self._save_rng_state(output_dir)",
            "self.state.save_to_json(",
            "rotate_checkpoints(output_dir=run_dir",
        ),
        callers={"_maybe_log_save_evaluate": SAVED},
    ),
    "_get_output_dir": Contract(
        "trial",
        "where a checkpoint is written, and looked for when old ones are deleted",
        body=("return run_dir",),
        callers={
            "_save_checkpoint": ("run_dir = self._get_output_dir(trial=trial)",),
            "_finalize_training": ("output_dir=self._get_output_dir(trial)",),
        },
    ),
    "save_model": Contract(
        "output_dir=None, _internal_call=False",
        "of weights that FSDP2 has spread it saves none; all others reach `_save`",
        body=(
            "elif self.is_fsdp_enabled: if 'FULL_STATE_DICT' in "
            "str(self.accelerator.state.fsdp_plugin.state_dict_type):",
            "self._save(output_dir)",
        ),
        callers={"_save_checkpoint": ("self.save_model(output_dir, _internal_call=True)",)},
    ),
    "_save": Contract(
        "output_dir=None, state_dict=None",
        "it saves the weights it is given, then the tokenizer, and we what belongs beside them",
        body=(
            "save_pretrained(output_dir, state_dict=state_dict)",
            "self.processing_class.save_pretrained(output_dir)",
        ),
        callers={"save_model": ("self._save(output_dir)",)},
    ),
    "_load_from_checkpoint": Contract(
        "resume_from_checkpoint, model=None",
        "tables that no adapter carries are read behind the weights",
        body=("load_result = model.load_state_dict(state_dict, False)", "model.load_adapter("),
        callers={"train": ("self._load_from_checkpoint(resume_from_checkpoint)",)},
    ),
    "_issue_warnings_after_load": Contract(
        "load_result",
        "where transformers warns of weights that do not fit, we refuse them",
        body=("load_result.missing_keys", "load_result.unexpected_keys"),
        callers={
            "_load_from_checkpoint": (
                "load_result = model.load_state_dict(state_dict, False)",
                "self._issue_warnings_after_load(load_result)",
            )
        },
    ),
    "_finalize_training": Contract(
        "trial, num_train_samples, start_time",
        "the summary is about the whole run: its start, its first step and its sums are moved back",
        body=(
            "self._total_loss_scalar += self._tr_loss.item()",
            "speed_metrics('train', start_time",
            "self.log(metrics)",
        ),
        callers={"_inner_training_loop": LOOP},
    ),
}


def source(owner: type, name: str) -> str:
    """Return a method's source without comments, in one line."""
    text = textwrap.dedent(inspect.getsource(inspect.unwrap(getattr(owner, name))))
    return " ".join(ast.unparse(ast.parse(text)).split())


def assert_in_order(pieces: tuple[str, ...], text: str, where: str) -> None:
    # Python's versions differ in where they write brackets around a tuple.
    text, at = without_brackets(text), 0
    for piece in pieces:
        wanted = without_brackets(piece)
        found = text.find(wanted, at)
        assert found >= 0, f"{where} of transformers no longer says, at this place: {piece}"
        at = found + len(wanted)


def without_brackets(text: str) -> str:
    return re.sub(r"[()]", "", text)


def written_parameters(method: Callable[..., Any]) -> str:
    _, *parameters = inspect.signature(method).parameters.values()
    return ", ".join(str(one.replace(annotation=one.empty)) for one in parameters)


@pytest.mark.parametrize("name", CONTRACTS)
def test_transformers_has_the_method_as_we_know_it(name: str) -> None:
    assert written_parameters(getattr(Trainer, name)) == CONTRACTS[name].parameters


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_method_does_what_we_rely_on(name: str) -> None:
    contract = CONTRACTS[name]
    assert_in_order(contract.body, source(Trainer, name), f"{name} ({contract.why})")


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_method_is_called_where_we_rely_on_it(name: str) -> None:
    contract = CONTRACTS[name]
    assert any(f"self.{name}(" in one for pieces in contract.callers.values() for one in pieces)
    for caller, pieces in contract.callers.items():
        assert_in_order(pieces, source(Trainer, caller), f"{caller} ({name}: {contract.why})")


def overrides(kind: type) -> set[str]:
    inherited = {name for name in dir(Trainer) if not name.startswith("__")}
    return inherited & vars(kind).keys()


def test_every_override_has_its_contract() -> None:
    assert overrides(TrainerSeams) == CONTRACTS.keys()


def our_trainers() -> Iterator[type]:
    """Find all classes of ours that are Trainers, but those that need ms-swift."""
    for package in (coordexp.training, coordexp.integrations.ms_swift):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith((".parts", ".plugin")):
                importlib.import_module(module.name)
    found = [TrainerSeams]
    for kind in found:
        found += kind.__subclasses__()
    return (kind for kind in found if kind.__module__.startswith("coordexp."))


def test_no_other_class_of_ours_overrides_the_trainer() -> None:
    others = [kind for kind in our_trainers() if kind is not TrainerSeams]
    assert {CoordSoftCEW1LossMixin, CoordTrainer} < set(others)
    assert {kind.__name__: overrides(kind) for kind in others if overrides(kind)} == {}
    assert [
        kind for kind in Trainer.__subclasses__() if kind.__module__.startswith("coordexp.")
    ] == [TrainerSeams]


def test_none_of_our_names_is_one_of_transformers() -> None:
    theirs = set(re.findall(r"self\.(\w+)", inspect.getsource(Trainer)))
    for kind in (TrainerSeams, CoordSoftCEW1LossMixin, CoordTrainer):
        text = inspect.getsource(kind)
        ours = set(re.findall(r"self\.(\w+)(?:, \w+)* =[^=]|def (\w+)", text))
        names = {name for pair in ours for name in pair if name} | set(kind.__annotations__)
        shared = names & theirs - CONTRACTS.keys() - {"__init__"}
        assert shared <= {
            *("_tr_loss", "_total_loss_scalar", "_globalstep_last_logged", "_initial_global_step"),
            *("optimizer", "model_accepts_loss_kwargs"),
        }


def test_the_sums_that_are_restored_are_those_of_the_log_and_the_summary() -> None:
    log = source(Trainer, "_maybe_log_save_evaluate")
    assert "self.state.global_step > self._globalstep_last_logged" in log
    assert "self.state.global_step - self._globalstep_last_logged" in log
    assert "_tr_loss" in source(Trainer, "_run_epoch")


def test_the_summary_counts_from_the_first_step_of_the_run() -> None:
    loop, summary = source(Trainer, "_inner_training_loop"), source(Trainer, "_finalize_training")
    if "_initial_global_step" not in summary:  # 5.17 counts from there anyway
        assert_in_order(
            ("self._total_loss_scalar / ", "self.state.global_step"), summary, "summary"
        )
        return
    assert_in_order(("self.state.global_step - self._initial_global_step",), summary, "summary")
    begin = ("self._initial_global_step = self.state.global_step", "on_train_begin(")
    assert_in_order(begin, loop, "_inner_training_loop")


def test_who_judges_a_step_is_handed_its_optimizer() -> None:
    assert "optimizer=self.optimizer" in source(CallbackHandler, "call_event")
    assert hasattr(TrainerCallback, "on_pre_optimizer_step")


def test_the_intervals_of_a_resumed_run_can_be_set_anew() -> None:
    assert written_parameters(TrainerState.compute_steps) == "args, max_steps"
    assert written_parameters(Trainer.get_optimizer_cls_and_kwargs).startswith("model")
