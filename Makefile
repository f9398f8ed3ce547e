# A thin front for Meson; the same commands run in CI. `make help` lists them.
#   build/       release binary: build/fusor
#   build-test/  sanitizers, unit tests, corpus replays; logs of the last run in build-test/logs
#   build-race/  thread sanitizer, for the tests with more than one thread
#   build-fuzz/  libFuzzer programs (clang)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
ONLY ?=
BENCH ?=
export PREFIX FUZZ_SECONDS

RELEASE = --buildtype=release -Db_lto=true
TEST = --buildtype=debugoptimized -Dtests=true -Db_sanitize=address,undefined
RACE = --buildtype=debugoptimized -Dtests=true -Db_sanitize=thread
FUZZ = --buildtype=debugoptimized -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
       -Dc_args=-fsanitize=fuzzer-no-link

.PHONY: help build build-test build-race test unit demo bench fuzz torture mutate coverage fmt lint \
        tidy install clean
.DEFAULT_GOAL := build

help:
	@echo 'make build      the release binary, build/fusor'
	@echo 'make test       all tests with sanitizers (ONLY=name: one of them)'
	@echo 'make unit       unit tests and corpus replays only'
	@echo 'make demo       fuse a real prompt on local models'
	@echo 'make bench      measure against the targets (BENCH=--quick: a fast look)'
	@echo 'make fuzz       each fuzz target for FUZZ_SECONDS (60)'
	@echo 'make torture    fail each allocation in turn'
	@echo 'make mutate     break named lines one at a time, expect a red test for each'
	@echo 'make coverage   which lines the tests run: build-coverage/report/index.html'
	@echo 'make fmt lint   format; check format, layers and sizes (tidy: clang-tidy)'
	@echo 'make install    into PREFIX (/usr/local)'

build:
	@tools/deps.sh build
	@test -f build/build.ninja || meson setup build $(RELEASE)
	@ninja -C build
	@ln -sfn src/cli/fusor build/fusor

# A directory, but no file rule: Meson itself knows what is out of date.
build-test:
	@tools/deps.sh $(or $(DEPS),unit)
	@test -f build-test/build.ninja || meson setup build-test $(TEST)
	@ninja -C build-test

test: DEPS = test
test: build-test build-race
	@python3 tests/run.py build-test --race build-race $(if $(ONLY),--only $(ONLY))

build-race:
	@test -f build-race/build.ninja || meson setup build-race $(RACE)
	@ninja -C build-race race

unit: build-test
	@python3 tests/run.py build-test --unit-only $(if $(ONLY),--only $(ONLY))

torture: build-test
	@python3 tests/run.py build-test --torture $(if $(ONLY),--only $(ONLY))

demo: build
	@tools/demo.sh

# The measured binary is the one of `make build`. BENCH: options of bench/run.py, such as --quick.
bench:
	@tools/deps.sh bench
	@test -f build/build.ninja || meson setup build $(RELEASE) -Dbench=true
	@test -f build/bench/load || meson configure build -Dbench=true
	@ninja -C build
	@ln -sfn src/cli/fusor build/fusor
	@python3 bench/run.py build $(BENCH)

fuzz:
	@tools/deps.sh fuzz
	@test -f build-fuzz/build.ninja || CC=$$(tools/deps.sh which clang) meson setup build-fuzz $(FUZZ)
	@ninja -C build-fuzz
	@tools/fuzz.sh build-fuzz $(ONLY)

mutate:
	@tools/deps.sh unit
	@python3 tools/mutate.py $(if $(ONLY),--only $(ONLY))

# A test may be red here (no sanitizers, slow code): the report is what counts.
coverage:
	@tools/deps.sh coverage
	@test -f build-coverage/build.ninja || \
	    meson setup build-coverage --buildtype=debug -Dtests=true -Db_coverage=true
	@ninja -C build-coverage
	@find build-coverage -name '*.gcda' -delete
	@python3 tests/run.py build-coverage || true
	@mkdir -p build-coverage/report
	@gcovr --root . --filter src/ --exclude-unreachable-branches --html-details \
	    build-coverage/report/index.html --print-summary build-coverage

fmt:
	@tools/deps.sh lint
	@tools/lint.sh fmt

lint:
	@tools/deps.sh lint
	@tools/lint.sh

tidy:
	@tools/deps.sh lint
	@test -f build-tidy/build.ninja || CC=$$(tools/deps.sh which clang) meson setup build-tidy -Dtests=true
	@tools/lint.sh tidy

install: build
	@tools/install.sh

clean:
	rm -rf build build-test build-race build-fuzz build-tidy build-mutate build-coverage
