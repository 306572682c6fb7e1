#!/usr/bin/env bash
# A Ray cluster of one machine that outlives the terminal, for `evomerge submit --address`.
#
#   workers/local.sh start [CPUS] [GPUS]     workers/local.sh stop
#
# `evomerge run` needs none of this: it starts a private Ray and ends it again. Whoever may talk to Ray
# runs code as you: it wants the token that is written for you alone, and has no dashboard.
set -euo pipefail

port="${EVOMERGE_RAY_PORT:-6379}"
state="${XDG_STATE_HOME:-$HOME/.local/state}/evomerge"
pid_file="$state/ray-$port.pid"
token_file="$state/ray-$port.token"

start() {
    mkdir -p "$state"
    (umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$token_file")
    export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$token_file"
    local options=(--head "--port=$port" --node-ip-address=127.0.0.1 --include-dashboard=false --block)
    [[ -n "${1:-}" ]] && options+=("--num-cpus=$1")
    [[ -n "${2:-}" ]] && options+=("--num-gpus=$2")
    # A session of its own: `stop` ends this Ray alone, where `ray stop` would end every Ray here.
    RAY_USAGE_STATS_ENABLED=0 setsid ray start "${options[@]}" >"$state/ray-$port.log" 2>&1 &
    echo $! >"$pid_file"
    for _ in $(seq 60); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token_file"
            echo "evomerge submit search.yml --address 127.0.0.1:$port"
            return
        fi
        sleep 1
    done
    echo "Ray did not come up within a minute; its log: $state/ray-$port.log" >&2
    exit 1
}

stop() {
    [[ -f "$pid_file" ]] || { echo "no Ray was started here on port $port" >&2; exit 1; }
    kill -TERM -- "-$(cat "$pid_file")" 2>/dev/null || true
    rm -f "$pid_file" "$token_file"
}

case "${1:-}" in
    start) start "${2:-}" "${3:-}" ;;
    stop) stop ;;
    *) echo "usage: workers/local.sh start [CPUS] [GPUS] | stop" >&2; exit 2 ;;
esac
