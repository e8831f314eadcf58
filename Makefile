# Two commands do everything: `make demo` and `make test`.
.PHONY: demo test setup setup-test check format messages docs bench-peers clean
ARGS ?=
PY := .venv/bin/python
# Without compiled modules each of the many processes would compile torch, transformers and the rest again.
unexport PYTHONDONTWRITEBYTECODE

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

# The pages of docs/ as a site in var/site; docs/reference is written from the code first.
docs: setup-test
	@$(PY) -m config.reference
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict
	@echo "The site is in var/site; open var/site/index.html."

# Validity and speed of drift beside libraries that do not install with Auscult: they get an environment of their own.
bench-peers: setup
	@benchmarks/peers/setup.sh
	@$(PY) -m benchmarks.validity_drift --peers .venv-peers/bin/python $(ARGS)
	@$(PY) -m benchmarks.drift --peers .venv-peers/bin/python $(ARGS)

clean:
	rm -rf .venv .venv-peers var .mypy_cache .ruff_cache .pytest_cache .hypothesis
