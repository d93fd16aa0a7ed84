# Everything runs from one virtual environment at .venv; paths are relative, so a checkout may stand anywhere.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
MEMBERS := core $(wildcard plugins/*/*)
STAMP := .venv/.installed
CLIENTS := .venv/npm/.installed

.PHONY: help install demo test check format bench wheels clean

help: ## Show this list.
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 22

install: $(STAMP) $(CLIENTS) ## Set up .venv with every distribution of this workspace, editable.

$(STAMP): pyproject.toml $(MEMBERS:%=%/pyproject.toml)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet 'uv>=0.9'
	@echo "installing $(words $(MEMBERS)) distributions into .venv"
	@$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python --group dev $(MEMBERS:%=-e ./%)
	@$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python --target .venv/older --only-binary :all: --group older
	@$(BIN)/python -m compileall -q $(MEMBERS:%=%/src)
	@touch $@

$(CLIENTS): tests/conformance/package.json .ci/clients | $(STAMP)
	@$(BIN)/python .ci/clients

demo: $(STAMP) ## Serve conf/demo.yaml on 127.0.0.1:4000; needs no API key.
	@echo
	@echo '  In another terminal:'
	@echo
	@echo "    curl -s localhost:4000/v1/chat/completions -H 'content-type: application/json' \\"
	@echo "         -d '{\"model\": \"demo\", \"messages\": [{\"role\": \"user\", \"content\": \"What are you?\"}]}'"
	@echo
	@echo "    curl -sN localhost:4000/v1/chat/completions -H 'content-type: application/json' \\"
	@echo "         -d '{\"model\": \"demo\", \"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"Count.\"}]}'"
	@echo
	@echo "    curl -s localhost:4000/v1/models        curl -s localhost:15020/metrics"
	@echo
	@echo '  and any MCP client at http://localhost:4000/mcp'
	@echo
	@$(BIN)/agentgateway -f conf/demo.yaml

test: $(STAMP) $(CLIENTS) ## Run every test.
	@$(BIN)/python -m pytest -n 3 --dist worksteal

check: $(STAMP) ## Format, lint and type checks.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy core/src $(wildcard plugins/*/*/src)

format: $(STAMP) ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP) ## Compare with peers on this machine; see bench/README.md.
	@$(BIN)/python bench/run.py

wheels: $(STAMP) ## Build a wheel of every distribution into dist/.
	@for member in $(MEMBERS); do $(BIN)/python -m uv build --quiet --wheel --out-dir dist ./$$member || exit 1; done
	@ls dist

clean: ## Remove what make made.
	rm -rf .venv dist
