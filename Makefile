# Two commands do everything: `make demo` and `make test`.
.PHONY: demo test setup setup-test check format messages clean
ARGS ?=
PY := .venv/bin/python

demo: setup
	@$(PY) -m config.cli demo $(ARGS)

test: setup-test
	@$(PY) -m pytest -n 2 $(ARGS)

setup:
	@config/setup.sh $(if $(findstring --with-smollm,$(ARGS)),gguf)

setup-test:
	@config/setup.sh test

check: setup-test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports
	@.venv/bin/mypy
	@$(PY) manage.py makemigrations --check --dry-run

format: setup-test
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

# German texts of reports: collects what is marked, compiles locale/de; fails while a text lacks its German one.
messages: setup-test
	@$(PY) -m config.messages

clean:
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis
