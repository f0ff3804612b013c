#!/bin/sh
# Runs a command with MAINSTAY_TEST_KUBECONFIG naming a fresh Kubernetes control plane, and ends that afterwards.
set -eu
dir=$(mktemp -d)
bin/devstack up --only kubernetes --dir "$dir" >"$dir/ready" 2>"$dir/errors" &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT INT TERM
while ! [ -s "$dir/ready" ]; do
	kill -0 "$pid" 2>/dev/null || { cat "$dir/errors" >&2; exit 1; }
	sleep 0.2
done
MAINSTAY_TEST_KUBECONFIG="$dir/kubeconfig" "$@"
