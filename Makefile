# Two commands to know: `make serve` and `make test`. `make help` lists the rest.
# Every step leaves a stamp and is skipped while nothing that it depends on has changed.

PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
ARGS   ?=

# What Debian must bring: to build, and beyond that to run every test.
APT_BUILD := build-essential python3-dev python3-venv
# The faster SRTP engine, where Debian has it; without it the build is whole, too.
APT_EXTRA := $(if $(filter amd64,$(shell dpkg --print-architecture 2>/dev/null)),libipsec-mb-dev)
APT_TEST  := chromium coturn firefox-esr clang clang-format llvm libclang-rt-14-dev iproute2 nftables \
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-nice gstreamer1.0-libav \
  python3-gi python3-gst-1.0 gir1.2-gst-plugins-bad-1.0 gir1.2-nice-0.1
# Debian's node, unless there is another one already.
APT_NODE  := $(if $(shell command -v npm 2>/dev/null),,nodejs npm)
APT := $(APT_BUILD) $(APT_EXTRA) $(APT_TEST) $(APT_NODE)

C_SOURCES := $(shell find csrc -name '*.[ch]')
BUILD_DEPS := $(C_SOURCES) setup.py $(wildcard rtcfwd/forwarder/_*.p*)
C_FORMAT := $(C_SOURCES) $(shell find tests -name '*.[ch]')
C_WARN := -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wconversion -Wshadow -Werror \
  -Icsrc -Icsrc/include -fsyntax-only

# Installs the packages in $(1) that are missing; asks for nothing, needs nothing when all are there.
define apt_install
	@missing=""; for p in $(1); do \
	  [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] \
	    || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  command -v apt-get >/dev/null || { echo "please install:$$missing"; exit 1; }; \
	  root=""; if [ "$$(id -u)" != 0 ]; then root=sudo; fi; \
	  echo "installing:$$missing"; \
	  $$root apt-get update -q && \
	  $$root env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -yq --no-install-recommends $$missing; \
	fi
endef

.DEFAULT_GOAL := help
.PHONY: help venv build serve test interop soak fuzz bench lint format types wheel clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- build ----------------------------------------------------------------------------------

build/.apt-build:
	@if ! command -v cc >/dev/null || ! $(PYTHON) -c 'import ensurepip, sysconfig, os, sys; \
	  sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null; \
	then $(MAKE) --no-print-directory build/.apt-build-install; fi
	@if [ -n "$(APT_EXTRA)" ] && [ "$$(id -u)" = 0 ] && ! dpkg -s $(APT_EXTRA) >/dev/null 2>&1; \
	then $(MAKE) --no-print-directory build/.apt-extra-install \
	  || echo "going on without $(APT_EXTRA)"; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "rtcfwd needs Python 3.11 or later; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@mkdir -p build && touch $@

.PHONY: build/.apt-build-install
build/.apt-build-install:
	$(call apt_install,$(APT_BUILD))

.PHONY: build/.apt-extra-install
build/.apt-extra-install:
	$(call apt_install,$(APT_EXTRA))

# Dependencies are read from pyproject.toml; the package itself is installed editable, without its
# extension, which the next rule builds in place (and only where C has changed).
$(VENV)/.stamp: pyproject.toml | build/.apt-build
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import tomllib; t = tomllib.load(open("pyproject.toml", "rb")); \
	  print(*t["build-system"]["requires"], *t["project"]["dependencies"], sep="\n")' \
	  > build/requirements.txt
	$(PY) -m pip install -q -r build/requirements.txt
	@RTCFWD_NO_EXTENSION=1 $(PY) -m pip install -q --no-build-isolation --no-deps -e .
	@touch $@

build/.extension: $(BUILD_DEPS) $(VENV)/.stamp
	$(PY) setup.py -q build_ext --inplace
	@touch $@

venv: $(VENV)/.stamp ## the virtual environment .venv with what the server needs

build: build/.extension ## compile the forwarder in place

serve: build ## start the server (ARGS="--port 9000 …")
	@exec $(VENV)/bin/rtcfwd serve $(ARGS)

wheel: build ## a wheel in dist/
	$(PY) -m pip wheel -q --no-build-isolation --no-deps -w dist .
	@ls dist/*.whl

# ---- tests ----------------------------------------------------------------------------------

build/.apt-test: Makefile | build/.apt-build
	$(call apt_install,$(APT))
	@mkdir -p build && touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp
	@$(PY) -c 'import tomllib; t = tomllib.load(open("pyproject.toml", "rb")); \
	  print(*t["project"]["optional-dependencies"]["dev"], sep="\n")' > build/requirements-dev.txt
	$(PY) -m pip install -q -r build/requirements-dev.txt
	@touch $@

# Browser libraries that speak WHIP or WHEP, of the exact versions in the lock file, in one bundle.
NPM_SOURCES := $(wildcard tests/interop/browser/*.js*)
build/npm/clients.bundle.js: $(NPM_SOURCES) | build/.apt-test
	@mkdir -p build/npm && cp $(NPM_SOURCES) build/npm/
	cd build/npm && npm ci --loglevel=error --ignore-scripts --no-audit --no-fund && \
	  node_modules/.bin/esbuild clients.js --bundle --log-level=warning --outfile=clients.bundle.js

# For wrtc's H264; what needs it is skipped where Debian's mirrors do not have it.
build/openh264/libopenh264.so: | build/.apt-test
	@tests/interop/openh264.sh $(@D) || echo "going on without OpenH264 2.6"

TEST_DEPS := build/.apt-test $(VENV)/.stamp-dev build/.extension build/npm/clients.bundle.js \
  build/openh264/libopenh264.so

test: $(TEST_DEPS) ## everything the tests need, Chromium included, then all of them
	$(PY) -m pytest $(ARGS)

interop: $(TEST_DEPS) ## all tests with real clients, those that `make test` leaves out, too
	$(PY) -m pytest tests/interop -m interop $(ARGS)

soak: $(TEST_DEPS) ## long runs
	$(PY) -m pytest tests/soak -m soak $(ARGS)

fuzz: $(TEST_DEPS) ## every parser for SECONDS=60 each
	$(MAKE) -C tests/fuzz run SECONDS=$(or $(SECONDS),60)

bench: $(TEST_DEPS) ## the short set of benchmarks (ARGS="fanout --viewers 1000 …")
	$(PY) -m benchmarks $(or $(ARGS),short)

# Beside Janus and aiortc; Janus is Debian's, and nothing but this needs it.
.PHONY: bench-peers
bench-peers: $(TEST_DEPS)
	$(call apt_install,janus)
	$(PY) -m benchmarks peers $(ARGS)

# ---- linters --------------------------------------------------------------------------------

lint: $(TEST_DEPS) types ## ruff, mypy, clang-format, compiler warnings
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	clang-format --dry-run --Werror $(C_FORMAT)
	@for f in $(filter %.c,$(C_SOURCES)); do $(CC) $(C_WARN) $$f || exit 1; done; echo "C warnings: none"
	@bash -n .ci/run

types: $(VENV)/.stamp-dev ## mypy, strict
	$(VENV)/bin/mypy

format: $(VENV)/.stamp-dev ## put every file into the house's format
	$(VENV)/bin/ruff check --fix-only -q . || true
	$(VENV)/bin/ruff format .
	clang-format -i $(C_FORMAT)

clean: ## remove everything that was built, the virtual environment included
	rm -rf build dist *.egg-info $(VENV) rtcfwd/forwarder/_forwarder*.so
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
