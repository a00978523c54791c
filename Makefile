# Everything a reader, contributor or maintainer does with this project. `make` alone lists the targets.

PYTHON ?= python3
BIN := .venv/bin
export NO_MKDOCS_2_WARNING := 1 # the theme prints a banner about another program on every build

# Pages name the time of the commit, not of the build: the same commit gives the same site.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# Python's compiled files are kept, or each worker and each command that a test runs would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

PYTEST = $(BIN)/pytest -q --dist worksteal

SOURCES = $(shell find docs experiments includes overrides site_tools snippets tests -type f -not -path '*/__pycache__/*') mkdocs.yml

.PHONY: help install serve site verify test test-listings test-site lint new accept check changed audit mutants clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

install: .venv/installed ## create .venv and install what requirements.txt and package-lock.json pin

.venv/installed: requirements.txt constraints.txt package-lock.json
	@echo "Installing into .venv (about 1 GB; a few minutes the first time) …"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/npm ci --silent
	@touch $@

serve: site ## verify every claim, build the site, serve it on http://127.0.0.1:8000 and follow edits
	@echo "Serving on http://127.0.0.1:8000 (stop with Ctrl+C) …"
	$(BIN)/mkdocs serve --livereload

site: build/site.stamp ## verify every claim and build the site into site/

build/site.stamp: build/verified.stamp $(SOURCES)
	@echo "Building the site into site/ …"
	$(BIN)/mkdocs build
	@touch $@

verify: build/verified.stamp ## run the claims and snippets that are not verified as they stand

build/verified.stamp: .venv/installed $(SOURCES)
	$(BIN)/python site_tools/verify.py -n 2
	@mkdir -p build && touch $@

# What takes long stands first, so that in the end no worker is left alone with it.
test: lint ## run everything: all claims, the strict site build, the tests of the machinery and of the site
	@echo "1/2 Running all claims, all snippets and the tests of the machinery …"
	$(PYTEST) -n logical --maxprocesses 4 tests/machinery/test_snippets.py tests/test_*.py tests/machinery
	@echo "2/2 Building the site and testing it; meanwhile its listings run as they do in a browser …"
	@$(MAKE) --no-print-directory --jobs 2 test-listings test-site

test-listings: # needs one core and no site; says nothing unless it fails
	@said=$$($(BIN)/pytest -q tests/site/test_runtime.py) || { echo "$$said"; exit 1; }

test-site: # three workers for two cores: while one waits for a browser, another works
	SITE_URL=http://site.localhost/repo/ $(BIN)/mkdocs build --quiet --site-dir build/site
	@touch build/verified.stamp
	BUILT_SITE=build/site $(PYTEST) -n 3 tests/site/test_quality.py tests/site --ignore tests/site/test_runtime.py

lint: .venv/installed
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check . || (echo "mend with: $(BIN)/ruff format ." && false)

new: .venv/installed ## start a question: make new SLUG=rotary-embeddings TITLE="Why rotary embeddings?"
	@$(BIN)/python site_tools/new.py "$(SLUG)" "$(TITLE)"

accept: build/verified.stamp ## accept the numbers of the pages as they stand, and show which are new
	@$(BIN)/python site_tools/accept.py

check: .venv/installed ## all that is wrong with one question, at once: make check Q=scale-by-sqrt-d
	@$(BIN)/python site_tools/check.py $(Q)

changed: .venv/installed ## the same for every question that differs from a commit: make changed BASE=origin/main
	@slugs=$$($(BIN)/python site_tools/changed.py "$(BASE)") || exit; \
	for slug in $$slugs; do $(BIN)/python site_tools/check.py $$slug || failed=1; done; [ -z "$$failed" ]

clean: ## delete what was built; the installed packages stay
	rm -rf build site .cache

audit: build/verified.stamp audit/node_modules ## what takes minutes: another processor, Lighthouse, how fast Run is, how the site grows
	$(BIN)/python audit/processor.py
	$(BIN)/python audit/lighthouse.py
	$(BIN)/python audit/run.py
	$(BIN)/python audit/growth.py

audit/node_modules: audit/package-lock.json
	$(BIN)/npm ci --silent --prefix audit

mutants: build/verified.stamp ## what takes ten minutes: change digits and code, count what the claims notice; make mutants Q="slug slug"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r audit/requirements.txt
	$(BIN)/python audit/mutants.py $(Q)
