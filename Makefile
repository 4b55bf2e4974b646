# The set-up needs some Python to start with; which one the environment gets is setup/environment.py's choice.
PYTHON3 := $(firstword $(foreach name,python3 python3.12 python3.11,$(shell command -v $(name) 2>/dev/null)))

.PHONY: help env demo test clean

help:
	@echo "make demo   camera, sweep and depth as ROS nodes for 20 s; pictures and a video in output/demo"
	@echo "make test   all tests (make test TESTS=test/test_optics.py: some)"
	@echo "make env    the environment .venv that both use, built again only where something changed"
	@echo "make clean  removes .venv"

env:
	@test -n "$(PYTHON3)" || { echo "dfd_ros: no Python found; install Python 3.11 or 3.12 (Debian, Ubuntu: sudo apt install python3-venv python3-dev)" >&2; exit 1; }
	@"$(PYTHON3)" setup/environment.py

demo: env
	.venv/bin/dfd demo

TESTS ?= test
test: env
	.venv/bin/python -m pytest $(TESTS)

clean:
	rm -rf .venv
