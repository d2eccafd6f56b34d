# `make` alone lists the targets. Each target sets up what it needs: all it takes is make, git and Python 3.12+.
# Overridable: PYTHON, ARGS (more words for pytest or the benchmarks), WORKERS, SCENARIO, SCALE, REPEAT, RACE_REPEAT,
# YES, CHAOS_EXECUTIONS, CHAOS_SEED, DOCS_PORT, DOCKER, COMPOSE, IMAGE.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
ARGS ?=
WORKERS ?= 3
RACE_REPEAT ?= 5
CHAOS_EXECUTIONS ?= 5000
DOCS_PORT ?= 8000
# Each worker takes one file after the other: those that wait longest first, those that compute last.
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not alone" \
	tests/e2e tests/integration tests/contract tests/unit
ALONE = -m alone tests/e2e
DOCKER ?= docker
COMPOSE ?= $(DOCKER) compose
IMAGE ?= chronoledger:latest

.PHONY: help runtime dev
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

runtime:
	@scripts/venv runtime
dev:
	@scripts/venv dev

.PHONY: run build clean
run: runtime ## Start the service (its own Postgres when no database is configured)
	@exec $(BIN)/chronoledger serve
build: dev ## Build the wheel and the source archive into dist/
	$(BIN)/python -m build --outdir dist .
clean: ## Remove build and test leftovers; data, logs and .venv stay
	rm -rf build dist htmlcov coverage.xml .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis .benchmarks .schemathesis *.egg-info
	find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

.PHONY: test test-unit test-contract test-integration test-e2e test-coverage test-race benchmark
test: dev ## Run all tests: WORKERS files at a time (3), then those that need the machine for themselves
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)
	$(BIN)/python -m pytest $(ALONE) $(ARGS)
test-unit: dev ## Run the unit tests (no I/O, seconds)
	$(BIN)/python -m pytest tests/unit $(ARGS)
test-contract: dev ## Run the contract suites, once for every implementation of a port
	$(BIN)/python -m pytest tests/contract $(ARGS)
test-integration: dev ## Run the integration tests on a real Postgres
	$(BIN)/python -m pytest tests/integration $(ARGS)
test-e2e: dev ## Run the end-to-end tests on running processes
	$(BIN)/python -m pytest tests/e2e $(ARGS)
test-coverage: dev ## Run all tests; 90 % of everything and 100 % of domain and application must be covered
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(SIDE_BY_SIDE) $(ARGS)
	$(BIN)/coverage run -m pytest $(ALONE) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report --fail-under=90
	$(BIN)/coverage report --fail-under=100 --include='domain/*,application/*'
test-race: dev ## Run the concurrency tests RACE_REPEAT times (5), with chaos amid CHAOS_EXECUTIONS (5000)
	@round=1; while [ $$round -le $(RACE_REPEAT) ]; do \
		echo "race round $$round of $(RACE_REPEAT)"; \
		CHAOS_EXECUTIONS=$(CHAOS_EXECUTIONS) CHAOS_SEED=$${CHAOS_SEED:-$$round} \
			$(BIN)/python -m pytest -m race $(ARGS) || exit; \
		round=$$((round + 1)); \
	done
benchmark: dev ## Measure the service beside what this machine could do (SCENARIO=name[,name] SCALE=0.1 REPEAT=3)
	@$(BIN)/python -m benchmarks $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(SCALE),--scale $(SCALE)) \
		$(if $(REPEAT),--repeat $(REPEAT)) $(ARGS)

.PHONY: migrate migrate-down seed
migrate: runtime ## Apply the pending database migrations
	$(BIN)/chronoledger migrate
migrate-down: runtime ## Take the migrations back and delete all data (asks first, unless YES=1)
	$(BIN)/chronoledger migrate --down $(if $(YES),--yes)
seed: runtime ## Fill the database with example tasks
	$(BIN)/chronoledger seed

.PHONY: docs docs-serve swagger
docs: swagger dev ## Generate the API documents and check the links of every page
	$(BIN)/python scripts/check_docs.py
docs-serve: dev ## Serve docs/ on http://127.0.0.1:DOCS_PORT (8000)
	$(BIN)/python -m http.server $(DOCS_PORT) --bind 127.0.0.1 --directory docs
swagger: dev ## Generate docs/swagger.yaml and docs/postman_collection.json
	$(BIN)/chronoledger openapi --write docs

# An argument without a value is taken from the environment, when it is set there.
PIP_BUILD_ARGS := --build-arg PIP_INDEX_URL --build-arg PIP_EXTRA_INDEX_URL --build-arg PIP_TRUSTED_HOST

.PHONY: docker-build docker-run docker-stop docker-clean
docker-build: ## Build the container image
	$(DOCKER) build $(PIP_BUILD_ARGS) --tag $(IMAGE) .
docker-run: docker-build ## Start Postgres and one container per role
	$(COMPOSE) up --detach
docker-stop: ## Stop the containers; their data stays
	$(COMPOSE) stop
docker-clean: ## Remove the containers, their volumes (the data too) and the image
	$(COMPOSE) down --volumes --remove-orphans --rmi local
	$(DOCKER) image rm --force $(IMAGE)

.PHONY: dev-setup fmt lint
dev-setup: dev ## Make .venv with all that development needs
	@echo "ready: .venv/bin/python is $$($(BIN)/python --version)"
fmt: dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .
lint: dev ## Check format, lint, types and the import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
