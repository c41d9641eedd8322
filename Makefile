# Two commands: `make demo` and `make test`. Each sets up what it needs in .venv; nothing has to be installed by hand. CI runs
# `make test-systems` as well: tests that start systems of others, or are long.
# What is installed are the versions in constraints.txt; `make test-newest` takes the newest ones, in a place of its own.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
CONSTRAINED := $(addprefix --constraint ,$(CONSTRAINTS))
BIN := $(VENV)/bin
# Tests wait for processes as long as they compute: four at a time for two cores.
JOBS ?= $(shell echo $$(($$(nproc) + 2)))
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# uv does in seconds what takes pip a minute. It knows nothing of pip's settings: where it reaches no index, pip goes on.
UV := $(BIN)/uv --quiet
# Installs the wheel anew, and what it needs with the extra $1. With $2 as --compile-bytecode, all modules are compiled at once, for
# what starts many processes: where PYTHONDONTWRITEBYTECODE is set, each of them would compile what it imports.
install = $(UV) pip install --python $(BIN)/python $2 --reinstall-package eventmill $(CONSTRAINED) "$$(echo build/*.whl)[$1]" \
  || { $(PIP) install --force-reinstall --no-deps build/*.whl && $(PIP) install $(CONSTRAINED) "$$(echo build/*.whl)[$1]"; }
PACKAGES := protocol system analysis packetizer elastic merge dataset reading writing display master worker launch status session simulation cli
SOURCES := pyproject.toml setup.py __init__.py __main__.py py.typed $(shell find $(PACKAGES) -name "*.py") $(wildcard display/assets/* status/assets/* launch/contexts/assets/*)

.PHONY: demo test test-systems test-all test-newest test-oldest test-pythons test-compiled compiled constraints lint types layers pytest docs bench notebooks clean \
  xrootd chromium slurm gridengine condor kubernetes ssh cloud-init ec2 s3 openstack samples jsroot uplot cloud-schema

demo: $(VENV)/demo
	@$(BIN)/eventmill demo

# Lint, types and layers take a minute of a core: beside the tests, and what they have to say comes after them.
test: $(VENV)/test xrootd
	@$(MAKE) --no-print-directory lint types layers >build/checks.log 2>&1 & checks=$$!; \
	  $(MAKE) --no-print-directory pytest TIER=own; tests=$$?; wait $$checks; checks=$$?; cat build/checks.log; \
	  [ $$tests = 0 ] && [ $$checks = 0 ]

# The tests that start batch systems, clouds and browsers, which are installed first, those with files of others, and long ones: see
# tests/support/tiers.py.
test-systems: $(VENV)/test-systems xrootd samples chromium slurm gridengine condor kubernetes ssh cloud-init ec2 s3
	@$(MAKE) --no-print-directory pytest TIER=systems

# With all files of others (`interop`) and all seeds and examples (`nightly`), which the fast tests have some of.
EVERYTHING := -m "" --hypothesis-profile nightly
test-all: openstack
	$(MAKE) --keep-going test test-systems TESTS='$(EVERYTHING)'
	$(MAKE) test-compiled

# The same with the newest releases of everything, also of what pyproject.toml bounds: whether the bounds can be raised.
BOUNDED := awkward cloudpickle numba uproot
test-newest:
	$(MAKE) .venv-newest/test-systems VENV=.venv-newest CONSTRAINTS=
	.venv-newest/bin/python -m pip --disable-pip-version-check --quiet install --upgrade $(BOUNDED)
	$(MAKE) --keep-going test test-systems VENV=.venv-newest CONSTRAINTS=

# The same on another Python, as in `make test-3.13`, in an environment of its own. `make test-pythons` tries those that should do.
PYTHONS := 3.11 3.12 3.13 3.14
find-python = $(firstword $(foreach path,$(shell command -v python$1) $(wildcard $(HOME)/.pyenv/versions/$1.*/bin/python),\
  $(if $(shell $(path) -c 'print(1)' 2>/dev/null),$(path))))
test-3.%:
	$(if $(call find-python,3.$*),$(MAKE) --keep-going test test-systems VENV=.venv-3.$* PYTHON=$(call find-python,3.$*),\
	  @echo "WARNING: no Python 3.$* on this machine; its tests are skipped" >&2)
test-pythons: $(addprefix test-,$(PYTHONS))

# What depends most on others, with the oldest releases of them that pyproject.toml allows.
OLDEST := .venv-oldest/bin/python
TESTS_WITH_OLDEST := tests/analysis tests/merge tests/protocol/test_codec.py tests/worker/test_kernel_cache.py \
  tests/worker/test_kernels.py tests/worker/test_state.py tests/reading tests/processes/test_session.py \
  tests/processes/test_view_queries.py
test-oldest: build/wheel
	rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	$(OLDEST) -m pip --disable-pip-version-check --quiet install uv
	$(OLDEST) -m uv pip compile --quiet --resolution lowest-direct --only-binary :all: --extra test pyproject.toml \
	  --output-file .venv-oldest/lowest.txt
	$(OLDEST) -m uv pip install --quiet --python $(OLDEST) --only-binary :all: --requirement .venv-oldest/lowest.txt
	$(OLDEST) -m uv pip install --quiet --python $(OLDEST) --no-deps build/*.whl
	$(OLDEST) -m pytest --numprocesses $(JOBS) --dist loadfile --pythonwarnings default $(TESTS_WITH_OLDEST)

# The master's pure cores as machine code: setup.py says which. The wheel, in dist, is for this Python and this kind of machine, takes a C
# compiler and some minutes, and is installed into .venv until the next `make` installs the one that is the same everywhere.
compiled: dist/wheel | $(VENV)/demo
	@$(PIP) install --force-reinstall --no-deps dist/*.whl
	@rm -f $(VENV)/demo $(VENV)/test $(VENV)/test-systems $(VENV)/docs $(VENV)/bench
	@$(BIN)/eventmill --version

dist/wheel: $(SOURCES) | $(VENV)/pip
	@echo "compiling the master's cores: some minutes"
	@rm -rf dist build/lib.* build/temp.* && mkdir dist
	@export EVENTMILL_COMPILE=1; $(BIN)/uv build --wheel --build-constraints constraints.txt --out-dir dist . >dist/log 2>&1 \
	  || $(PIP) wheel --no-deps --wheel-dir dist . || { cat dist/log; exit 1; }
	@touch $@

# What decides, and what is simulated of it, with compiled cores, in an environment of its own.
COMPILED := .venv-compiled
test-compiled:
	$(MAKE) $(COMPILED)/test VENV=$(COMPILED)
	$(MAKE) compiled VENV=$(COMPILED)
	$(COMPILED)/bin/python -m pytest --numprocesses $(JOBS) --dist loadfile tests/packetizer tests/master tests/world

# Writes constraints.txt anew, or leaves it as it is. Run `make test` with it before it is committed.
constraints: build/wheel
	rm -rf .venv-newest
	$(MAKE) .venv-newest/test-systems .venv-newest/docs .venv-newest/bench VENV=.venv-newest CONSTRAINTS=
	.venv-newest/bin/python -m pip list --format=freeze >build/installed
	{ grep '^#' constraints.txt; sort -f build/installed | grep -viE '^(eventmill|pip|setuptools|uv|wheel)='; } >build/constraints
	mv build/constraints constraints.txt

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types:
	cd build && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p eventmill

layers:
	cd build && ../$(BIN)/lint-imports --no-cache ../pyproject.toml

# File by file, in the order of tests/support/order.py: long ones first. Without a tier, of both.
TIER ?=
pytest:
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(addprefix --tier=,$(TIER)) $(TESTS)

# The site, in build/site: docs/ and what is public, by its docstrings. Warnings are errors, and so are release notes that towncrier
# cannot read.
docs: $(VENV)/docs
	$(BIN)/towncrier build --draft --version 0 >/dev/null
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks.throughput

# The example notebooks, run and saved with what they show; those that show nothing new stay as they are.
notebooks: $(VENV)/test-systems
	$(BIN)/python examples/notebooks/run.py

# The tests that read through XRootD start real servers, also with tokens. Without root or apt they are skipped, loudly.
XROOTD := xrootd-server xrootd-client xrootd-server-plugins xrootd-plugins xrootd-scitokens-plugins openssl
xrootd:
	@dpkg -s $(XROOTD) >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
	  $(XROOTD) >/dev/null; } || echo "WARNING: not all of $(XROOTD) are there; tests will be skipped or fail" >&2

# The tests of what notebooks show look at it in a browser.
CHROMIUM := chromium fonts-dejavu-core
chromium:
	@dpkg -s $(CHROMIUM) >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
	  $(CHROMIUM) >/dev/null; } || echo "WARNING: $(CHROMIUM) are not there; tests will be skipped" >&2

# The tests of workers in Slurm start one of their own, with four nodes on this machine.
SLURM := slurmctld slurmd slurm-client munge
slurm:
	@dpkg -s $(SLURM) >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
	  $(SLURM) >/dev/null; } || echo "WARNING: not all of $(SLURM) are there; tests will be skipped or fail" >&2

# Those of workers in Grid Engine do as well. Its programs (50 MB) are unpacked into the user's cache folder: no root.
gridengine: $(VENV)/test
	@$(BIN)/python tests/support/systems/gridengine_programs.py || echo "WARNING: without Grid Engine, tests will be skipped or fail" >&2

# The tests of workers on hosts that one logs in to start an SSH server of their own.
ssh:
	@[ -x /usr/sbin/sshd ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
	  openssh-server >/dev/null; } || echo "WARNING: sshd is not there; tests will be skipped or fail" >&2
	@[ "$$(id -u)" != 0 ] || mkdir -p /run/sshd

# The tests of workers in HTCondor start a pool of it. Its programs (200 MB) are unpacked into the user's cache folder: no root.
condor: $(VENV)/test-systems
	@$(BIN)/python tests/support/systems/condor_programs.py || echo "WARNING: without HTCondor, tests will be skipped or fail" >&2

# The tests of workers in Kubernetes start a real one, which nobody has as a package: it is compiled, once, in some minutes, and
# kept in the user's cache (290 MB).
KUBERNETES := $(HOME)/.cache/eventmill-tests/kubernetes-1.20.2
kubernetes:
	@[ -x $(KUBERNETES)/bin/kube-scheduler ] || echo "compiling Kubernetes for its tests, once: six minutes of CPU time"
	@tests/support/systems/kubernetes_build.sh $(KUBERNETES) || echo "WARNING: without Kubernetes, tests will be skipped or fail" >&2

# The tests of machines in clouds boot some on this one, which the real cloud-init sets up. It is unpacked into the user's cache.
cloud-init:
	@tests/support/systems/cloud_init_unpack.sh $(HOME)/.cache/eventmill-tests/cloud-init \
	  || echo "WARNING: without cloud-init, tests will be skipped or fail" >&2

# A cloud with the interface of EC2 is moto, in an environment of its own in the user's cache (150 MB): it wants other versions.
MOTO := $(HOME)/.cache/eventmill-tests/moto-5.2.5
ec2: | $(VENV)/pip
	@[ -e $(MOTO)/is-whole ] || { echo "installing moto for tests of clouds, once" && rm -rf $(MOTO) && $(BIN)/python -m venv $(MOTO) \
	  && $(MOTO)/bin/python -m pip --disable-pip-version-check --quiet install --requirement tests/support/systems/ec2_requirements.txt \
	  && touch $(MOTO)/is-whole; } || echo "WARNING: without moto, tests will be skipped or fail" >&2

# A store of objects is moto's, too. Its client is in a folder of its own, since it wants an older dateutil than others here.
S3FS := $(HOME)/.cache/eventmill-tests/s3fs-2026.9.0
s3: ec2 | $(VENV)/pip
	@[ -e $(S3FS)/is-whole ] || { echo "installing s3fs for tests of object stores, once" && rm -rf $(S3FS) \
	  && $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps --target $(S3FS)/lib \
	  --requirement tests/support/systems/s3_requirements.txt && touch $(S3FS)/is-whole; } \
	  || echo "WARNING: without s3fs, tests will be skipped or fail" >&2

# Those of OpenStack start nova and keystone themselves, of `make test-all` only: half a gigabyte in an environment of its own.
NOVA := $(HOME)/.cache/eventmill-tests/nova-34
openstack: | $(VENV)/pip
	@[ -e $(NOVA)/is-whole ] || { echo "installing nova for tests of clouds, once: some minutes" && rm -rf $(NOVA) \
	  && $(BIN)/python -m venv $(NOVA) \
	  && $(NOVA)/bin/python -m pip --disable-pip-version-check --quiet install --requirement tests/support/systems/openstack_requirements.txt \
	  && touch $(NOVA)/is-whole; } || echo "WARNING: without nova, tests will be skipped or fail" >&2

# Files of experiments (30 MB) that some tests read, which download nothing themselves and are skipped, loudly, without.
samples: $(VENV)/test
	@$(BIN)/python -m benchmarks.coffea_samples || echo "WARNING: tests that read them will be skipped or fail" >&2

# The wheel is what is tested and what users get: never the source tree.
build/wheel: $(SOURCES) | $(VENV)/pip
	@echo "building the wheel of eventmill"
	@rm -rf build && mkdir build
	@$(UV) build --wheel --out-dir build . || $(PIP) wheel --no-deps --wheel-dir build .
	@touch $@

$(VENV)/demo: build/wheel $(CONSTRAINTS)
	@echo "installing eventmill and what it needs into $(VENV) (the first time this downloads for a minute or two)"
	@$(call install,plot)
	@touch $@

$(VENV)/test: build/wheel $(CONSTRAINTS)
	@$(call install,test,--compile-bytecode)
	touch $@

# What the wheel needs changes with pyproject.toml only; the wheel itself is that of the tests above.
$(VENV)/test-systems: pyproject.toml $(CONSTRAINTS) | $(VENV)/test
	@$(call install,test-systems,--compile-bytecode)
	touch $@

$(VENV)/docs: build/wheel $(CONSTRAINTS)
	@$(call install,docs)
	touch $@

$(VENV)/bench: build/wheel $(CONSTRAINTS)
	@$(call install,bench,--compile-bytecode)
	touch $@

# Debian ships venv apart from Python: where it is missing and we may, install it.
$(VENV)/pip:
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); [ "$$(id -u)" = 0 ] && apt-get -qq update >/dev/null \
	  && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null && $(PYTHON) -m venv $(VENV); } \
	  || { echo "cannot make a virtual environment: install python3-venv, or set PYTHON to a Python 3.11 or newer" >&2; exit 1; }
	@$(PIP) install --upgrade pip
	@$(PIP) install uv || echo "without uv, pip installs: this takes a minute longer"
	@touch $@

# ROOT's viewer for browsers, of which display/assets/jsroot.mjs says what is taken. It is committed: nothing is loaded at run time.
JSROOT := 7.11.2
jsroot:
	rm -rf build/jsroot && mkdir -p build/jsroot
	cp display/assets/jsroot.mjs build/jsroot
	cd build/jsroot && npm install --silent --no-save --ignore-scripts --prefix . jsroot@$(JSROOT) esbuild
	cd build/jsroot && node_modules/.bin/esbuild jsroot.mjs --bundle --minify --format=esm --platform=browser \
	  --banner:js="/* JSROOT $(JSROOT), MIT: see jsroot.LICENSE */" --outfile=jsroot.min.js
	cp build/jsroot/jsroot.min.js display/assets && cp build/jsroot/node_modules/jsroot/LICENSE display/assets/jsroot.LICENSE

# Pictures over time for the status page, as its makers pack it. It is committed, too.
UPLOT := 1.6.32
uplot:
	rm -rf build/uplot && mkdir -p build/uplot
	cd build/uplot && npm install --silent --no-save --ignore-scripts --prefix . uplot@$(UPLOT)
	(echo "/* uPlot $(UPLOT), MIT: see uplot.LICENSE */"; cat build/uplot/node_modules/uplot/dist/uPlot.iife.min.js) >status/assets/uplot.min.js
	cp build/uplot/node_modules/uplot/dist/uPlot.min.css status/assets/uplot.min.css
	cp build/uplot/node_modules/uplot/LICENSE status/assets/uplot.LICENSE

# What cloud-init understands, by its own schema: out of the package of a Debian release, none of which is installed. It is committed, too.
CLOUD_INIT_OF := trixie
cloud-schema:
	rm -rf build/cloud-init && mkdir -p build/cloud-init/lists/partial build/cloud-init/partial && : >build/cloud-init/status
	cd build/cloud-init && echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
	  $$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources | head -1) $(CLOUD_INIT_OF) main" | tr -d '\\\n' >list && \
	  apt() { apt-get -qq -o Dir::State="$$PWD" -o Dir::State::status="$$PWD/status" -o Dir::Cache="$$PWD" -o Dir::Cache::archives="$$PWD" \
	  -o Dir::Etc::SourceList="$$PWD/list" -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User="$$(id -un)" "$$@"; } && \
	  apt update >/dev/null && apt download cloud-init && dpkg-deb --fsys-tarfile cloud-init_*.deb | tar -x
	cp build/cloud-init/usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json launch/contexts/assets
	@echo "write its version into launch/contexts/assets/schema.LICENSE: $$(ls build/cloud-init/*.deb)"

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
