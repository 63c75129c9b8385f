#!/usr/bin/env bash
# Installs the programs that the bench compares Culvert with, each from its own registry (Debian as root; Go, Rust and npm as any user), and reports
# those that could not be installed. Programs not from Debian are installed in $CULVERT_BENCH_PEERS, by default culvert-bench in the user's cache
# directory. Exit code 0: all are installed; 1: something is missing.
set -uo pipefail
directory=${CULVERT_BENCH_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/culvert-bench}
mkdir -p "$directory"
missing=()

# have NAME FILE COMMAND...: runs the command unless the file exists, and records the name if the file does not exist afterwards.
have() {
  local name=$1 file=$2
  shift 2
  if [[ ! -e $file ]]; then
    echo "=== $name: $*"
    "$@" </dev/null >"$directory/$name.log" 2>&1
  fi
  if [[ -e $file ]]; then
    echo "=== $name is installed"
  else
    missing+=("$name: $(grep -v '^[[:space:]]*$' "$directory/$name.log" | tail -n 1)")
  fi
}

debian() { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$@"; }
go_install() { GOBIN="$directory/bin" nice go install "$1"; }
# One job: a build must not slow down the machine's other work.
cargo_install() { nice cargo install --jobs 1 --root "$directory" "$@"; }

have openssh /usr/sbin/sshd debian openssh-server openssh-client
have haproxy /usr/sbin/haproxy debian haproxy
have nginx /usr/lib/nginx/modules/ngx_stream_module.so debian nginx-light libnginx-mod-stream
have openssl /usr/bin/openssl debian openssl
have wrk /usr/bin/wrk debian wrk
have iperf3 /usr/bin/iperf3 debian iperf3
# For the scenarios with packet loss and those that give the hub its own processor.
have unshare /usr/bin/unshare debian util-linux
have iproute2 /usr/bin/ip debian iproute2
have python3 /usr/bin/python3 debian python3-minimal
have dev-tunnels-ssh "$directory/node_modules/@microsoft/dev-tunnels-ssh-tcp" \
  npm install --prefix "$directory" --no-audit --no-fund @microsoft/dev-tunnels-ssh@3.12.42 @microsoft/dev-tunnels-ssh-tcp@3.12.42
# Not --locked: its lock file contains a version of `time` that current compilers reject.
have rathole "$directory/bin/rathole" cargo_install rathole@0.5.0 --no-default-features --features server,client,tls
have wstunnel "$directory/bin/wstunnel" cargo_install wstunnel --locked
have chisel "$directory/bin/chisel" go_install github.com/jpillora/chisel@latest
have frp "$directory/bin/frps" go_install github.com/fatedier/frp/cmd/frps@latest
have piko "$directory/bin/piko" go_install github.com/andydunstall/piko@latest

for one in "${missing[@]}"; do echo "=== MISSING $one"; done
((${#missing[@]} == 0))
