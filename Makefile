# Everything a newcomer and CI run. `make` alone lists the targets.

PYTHON ?= python3
OUT ?= runs/quickstart
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet
VLLM_PIP := .venv-vllm/bin/pip --disable-pip-version-check install --quiet --no-deps
SWIFT_PIP := .venv-swift/bin/pip --disable-pip-version-check install --quiet
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
# Instructions that oneDNN's products and PyTorch's own kernels may use, step by step down.
CPU_STEPS := ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 ONEDNN_MAX_CPU_ISA=AVX512_CORE \
	ONEDNN_MAX_CPU_ISA=AVX2,ATEN_CPU_CAPABILITY=avx2 \
	ONEDNN_MAX_CPU_ISA=AVX2,ATEN_CPU_CAPABILITY=default

.PHONY: help quickstart check check-cpu check-gpu check-swift check-trl check-vllm check-qlora check-long check-versions test format docs clean

help:
	@echo "make quickstart   install, run the main job on a tiny model, say where the report is"
	@echo "make check        everything that CI checks"
	@echo "make check-cpu    the tests of numbers, as on processors with fewer instructions"
	@echo "make check-gpu    the tests and the benchmarks that need a GPU, in nine minutes"
	@echo "make check-swift  the tests inside ms-swift, in an environment of its own"
	@echo "make check-trl    the tests inside TRL's trainer, which lies beside the environment"
	@echo "make check-vllm   the tests on vLLM and Ray themselves, on the CPU, in an environment of their own"
	@echo "make check-qlora  the tests on a base in four bits, with bitsandbytes"
	@echo "make check-long   a study on the tiny base, DDP, DeepSpeed and FSDP2"
	@echo "make check-versions  the fast tests on Python 3.11 to 3.13, oldest and newest libraries"
	@echo "make test         the fast tests"
	@echo "make format       format, and fix what ruff can fix"
	@echo "make docs         write docs/config.md anew from the schema"
	@echo "make clean        remove caches and build output; .venv and runs/ stay"

quickstart: .venv/.installed
	$(BIN)/coordexp quickstart --out $(OUT)
	@echo "Open $(abspath $(OUT))/report.html"

# The tests come last, so that the last line is their verdict.
check: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@sh scripts/fetch_test_data.sh
	@if sh scripts/ensure_chromium.sh; then \
		set -x; sh scripts/test.sh -n auto -m "not gpu and not swift and not trl and not vllm and not long"; \
	else \
		set -x; sh scripts/test.sh -n auto -m "not gpu and not browser and not swift and not trl and not vllm and not long"; \
	fi

check-cpu: .venv/.installed-dev
	@for step in $(CPU_STEPS); do \
		echo $$step; \
		env $$(echo $$step | tr , ' ') $(BIN)/pytest -n auto -q -m "not gpu and not swift and not trl and not vllm" \
			tests/objective tests/model tests/export || exit 1; \
	done

check-gpu: .venv/.installed-dev
	PYTHON=$(BIN)/python scripts/measure_gpu.sh

# ms-swift warns about many things; none of them is ours to mend.
check-swift: .venv-swift/.installed
	.venv-swift/bin/pytest -m swift -o filterwarnings=ignore tests/integrations

# TRL and what it brings lie beside the environment, as bitsandbytes does below: seven packages, and
# torch is not installed a second time. It warns about what is experimental.
check-trl: .venv/.installed-trl
	PYTHONPATH=.venv/trl $(BIN)/pytest -m trl -o filterwarnings=ignore tests/integrations/trl

# A GiB of cache is plenty for the tiny model. Threads are not bound to processors: which ones are free
# is not for vLLM to guess on a shared machine.
check-vllm: .venv-vllm/.installed
	PYTHONPATH=tests/vllm_site VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind \
		.venv-vllm/bin/pytest -m vllm -o filterwarnings=ignore tests/inference

# bitsandbytes lies beside the environment and not in it: PEFT imports it wherever it is there, which
# takes every process that makes an adapter two seconds more.
check-qlora: .venv/.installed-qlora
	PYTHONPATH=.venv/qlora $(BIN)/pytest -n auto -m qlora tests/training

# Minutes of processes that train and answer one after the other: too long to wait for in `check`.
check-long: .venv/.installed-dev
	$(BIN)/pytest -n auto -m long

check-versions:
	sh scripts/check_versions.sh

test: .venv/.installed-dev
	$(BIN)/pytest -n auto -m "not slow and not browser and not gpu and not swift and not trl and not vllm and not long"

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.installed-dev
	$(BIN)/python -m coordexp.config.document > docs/config.md

clean:
	rm -rf build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

# The stamps remember what is installed: nothing is installed again until the pins or ranges change.
$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing $(TORCH), then everything else; this takes a few minutes the first time."
	$(PIP) $(TORCH)
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

# DeepSpeed comes as source; DS_BUILD_OPS=0 leaves its kernels out, so that no compiler is needed.
.venv/.installed-dev: .venv/.installed
	DS_BUILD_OPS=0 $(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/.installed-qlora: .venv/.installed-dev
	rm -rf .venv/qlora
	$(PIP) --no-deps --target .venv/qlora $(shell grep '^bitsandbytes==' constraints.txt)
	@touch $@

.venv/.installed-trl: .venv/.installed-dev constraints-trl.txt
	rm -rf .venv/trl
	$(PIP) --no-deps --target .venv/trl --requirement constraints-trl.txt
	@touch $@

.venv-swift/bin/python:
	$(PYTHON) -m venv .venv-swift

.venv-swift/.installed: pyproject.toml constraints-swift.txt | .venv-swift/bin/python
	$(SWIFT_PIP) $(shell grep '^torch==' constraints-swift.txt)
	$(SWIFT_PIP) --constraint constraints-swift.txt --editable '.[swift]' \
		beartype hypothesis pytest
	@touch $@

.venv-vllm/bin/python:
	$(PYTHON) -m venv .venv-vllm

.venv-vllm/.installed: pyproject.toml constraints-vllm.txt | .venv-vllm/bin/python
	$(VLLM_PIP) --requirement constraints-vllm.txt
	$(VLLM_PIP) --editable .
	@touch $@
