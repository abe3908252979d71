import subprocess
import sys

from coordexp.export import plain_reload
from coordexp.export.plain_reload import PlainFacts


def test_facts_survive_being_written() -> None:
    facts = PlainFacts("A", tied=True, flags=(True, False), foreign=("x",), strays=())
    assert PlainFacts.from_json(facts.to_json()) == facts


def test_coordexp_cannot_be_imported_once_it_is_hidden() -> None:
    script = f"""
import importlib.abc, importlib.util, sys, types
for name in ("torch", "transformers", "safetensors", "safetensors.torch"):
    stub = sys.modules[name] = types.ModuleType(name)
    stub.inference_mode = stub.no_grad = lambda: lambda function: function
    for attribute in ("AutoModelForImageTextToText", "PreTrainedModel", "PretrainedConfig"):
        setattr(stub, attribute, stub)
    for attribute in ("Tensor", "nn"):
        setattr(stub, attribute, stub)
    stub.Module = stub.load_file = stub.save_file = stub
spec = importlib.util.spec_from_file_location("reload", {plain_reload.__file__!r})
module = importlib.util.module_from_spec(spec)
sys.modules["reload"] = module
spec.loader.exec_module(module)
print(any(name.startswith("coordexp") for name in sys.modules))
sys.meta_path.insert(0, module._NotInstalled())
for name in ("coordexp", "coordexp.model.load"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "False",
        "coordexp is hidden from this process",
        "coordexp is hidden from this process",
    ]
