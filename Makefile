# The set-up needs some Python to start with; which one the environment gets is setup/environment.py's choice.
PYTHON3 := $(firstword $(foreach name,python3 python3.12 python3.11,$(shell command -v $(name) 2>/dev/null)))

.PHONY: help env example demo test test-fast lint docs clean

help:
	@echo "make example    depth of the photographs in examples/push_button, in output/push_button"
	@echo "make demo       camera, sweep and depth as ROS nodes for 20 s; pictures and a video in output/demo"
	@echo "make test       all tests (make test TESTS=test/core/test_optics.py: some)"
	@echo "make test-fast  the tests of single modules (not marked slow), in about a minute on two cores"
	@echo "make lint       ruff and mypy"
	@echo "make docs       the documentation as a site, in output/site"
	@echo "make env        the environment .venv of all of these, built again only where something changed"
	@echo "make clean      removes .venv"

env:
	@test -n "$(PYTHON3)" || { echo "dfd_ros: no Python found; install Python 3.11 or 3.12 (Debian, Ubuntu: sudo apt install python3-venv python3-dev)" >&2; exit 1; }
	@"$(PYTHON3)" setup/environment.py $(SET_UP)

example: env
	.venv/bin/dfd estimate examples/push_button --out output/push_button

demo: env
	.venv/bin/dfd demo

TESTS ?= test
# Tests of one file run in one process, which makes its fixtures once. Many wait for nodes: three processes keep two
# cores busy. Without compiled modules every process of the tests would take 4 s longer to start.
WORKERS ?= 3
PYTEST = PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile

test: env
	$(PYTEST) $(TESTS)

# Property tests try fewer examples. Tests over 2 s are named at the end: mark them slow, with the reason.
test-fast: env
	$(PYTEST) -m "not slow" --hypothesis-profile=fast --durations=10 --durations-min=2 $(TESTS)

lint: env
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# Without the request of its theme to move to a successor. A warning ends the build.
docs:
	@$(MAKE) --no-print-directory env SET_UP=--docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet
	@echo "dfd_ros: open output/site/index.html; the search needs a server: python3 -m http.server -d output/site"

clean:
	rm -rf .venv
