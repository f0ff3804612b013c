#!/bin/sh
# Builds the programs and says every few seconds that it is still at it: a first build takes minutes.
set -eu
step() { # title, command...
	title=$1
	shift
	began=$(date +%s)
	log=$(mktemp)
	printf '  building %s' "$title"
	"$@" >"$log" 2>&1 &
	pid=$!
	trap 'kill "$pid" 2>/dev/null || true; rm -f "$log"; exit 130' INT TERM
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		n=$(($(date +%s) - began))
		[ $((n % 5)) -ne 0 ] || printf ' %ss' "$n"
	done
	if wait "$pid"; then
		printf ' done\n'
		rm -f "$log"
	else
		printf ' failed\n' && cat "$log" >&2 && rm -f "$log"
		exit 1
	fi
	trap - INT TERM
}
echo "Building (the first time this fetches and compiles Temporal, Kubernetes and Helm: some 10 to 20 minutes on two cores)"
step bin/mainstay make -s build
step bin/devstack make -s devstack
step bin/demo go build -o bin/demo ./tests/demo
