# shellcheck shell=sh
# What all faults share. labctl and tasks/fault.yml put it before a fault's script and run both, as root, on a machine:
#
#   inject UNDO_AFTER_S [KEY=VALUE...]   arms a timer that heals, then does it
#   heal                                 undoes it, whoever did it and however far it came; says so if it was there
#   active                               one sentence of evidence, and exit code 0, while the fault is in force; else 1
#   supported [KEY=VALUE...]             exit code 0, or the reason why not and exit code 1
#
# A fault sets FAULT, defines fault_inject, fault_heal, fault_active and perhaps fault_supported and fault_work, and
# ends with: fault_main "$@"
set -eu
export LC_ALL=C
# sudo may not look into the first two; labctl's programs, and the right nft, are there.
export PATH="/usr/local/sbin:/usr/local/bin:$PATH"
umask 077

# The mark of connections that the machines that are cut off began.
THEIRS=0x6c61
# A test's folder; nothing on a machine.
ROOT=${LABCTL_FAULT_ROOT:-}
# Survives a reboot: the machine's own copy of the script, its arguments, and what was saved.
STATE=$ROOT/var/lib/labctl/faults
UNITS=$ROOT/etc/systemd/system
DROP_INS=$ROOT/run/systemd/system
MANIFESTS=$ROOT/etc/kubernetes/manifests
AT_BOOT=labctl-faults.service

fault_main() {
  verb=${1:-}
  MINE=$STATE/$FAULT
  UNDO=labctl-undo-$FAULT
  WORK=labctl-fault-$FAULT
  case $verb in
    inject) undo_after_s=${2:?how many seconds until the machine undoes it by itself} && shift 2 ;;
    heal | active | supported | work) shift ;;
    *) die "usage: inject UNDO_AFTER_S [KEY=VALUE...] | heal | active | supported [KEY=VALUE...]" ;;
  esac
  ARGS=$(printf '%s\n' "$@")
  if [ $# = 0 ] && [ -f "$MINE/args" ]; then ARGS=$(cat "$MINE/args"); fi
  case $verb in
    inject)
      lock
      reason=$(fault_supported) || die "$FAULT is not possible here: $reason"
      if is_armed; then undo; fi
      arm "$undo_after_s" "$@"
      fault_inject
      ;;
    heal)
      lock
      if is_armed || fault_active >/dev/null; then
        undo
        echo "$FAULT undone"
      fi
      ;;
    active) fault_active || exit 1 ;;
    supported) fault_supported || exit 1 ;;
    work) fault_work ;;
  esac
}

fault_supported() { :; }

die() {
  echo "$*" >&2
  exit 2
}

# The value of an argument: arg KEY [DEFAULT].
arg() {
  given=$(printf '%s\n' "$ARGS" | sed -n "s/^$1=//p" | tail -n 1)
  printf '%s\n' "${given:-${2:-}}"
}

lock() {
  mkdir -p "$ROOT/run"
  exec 9>"$ROOT/run/labctl-faults.lock"
  flock --timeout 120 9 || die "another fault is being injected or healed on this machine for two minutes"
}

# --- undo by the machine itself

is_armed() { [ -d "$MINE" ]; }

# Before anything is changed: keep a copy of this script, and have it run after so many seconds, or at the next boot.
arm() {
  mkdir -p "$STATE"
  new=$(mktemp -d "$STATE/.new.XXXXXX")
  cp "$0" "$new/script"
  shift_args "$@" >"$new/args"
  sync "$new/script" "$new/args"
  mv -T "$new" "$MINE"
  arm_boot
  sync "$STATE"
  disarm_timer
  # A heal that fails (the API is not back yet, say) is tried again.
  systemd-run --quiet --collect --unit="$UNDO" --on-active="${1}s" --timer-property=AccuracySec=100ms \
    --property=Type=oneshot --property=Restart=on-failure --property=RestartSec=5 --setenv=LABCTL_UNDO=1 \
    /bin/sh "$MINE/script" heal 9>&-
}

shift_args() {
  shift
  printf '%s\n' "$@"
}

# systemd reads it at the next boot, so it need not be told now.
arm_boot() {
  mkdir -p "$UNITS/multi-user.target.wants"
  write "$UNITS/$AT_BOOT" <<UNIT
[Unit]
Description=Undo the faults of labctl that were in force when the machine went down
ConditionDirectoryNotEmpty=$STATE

[Service]
Type=oneshot
Environment=LABCTL_UNDO=1
ExecStart=/bin/sh -c 'for s in $STATE/*/script; do /bin/sh "\$\$s" heal || failed=1; done; exit \$\${failed:-0}'
Restart=on-failure
RestartSec=5
UNIT
  ln -sf "../$AT_BOOT" "$UNITS/multi-user.target.wants/$AT_BOOT"
}

undo() {
  fault_heal
  disarm
}

# The timer goes first: were the script gone before it, it would fail again and again.
disarm() {
  disarm_timer
  rm -rf "$MINE" "$STATE"/.new.*
  if rmdir "$STATE" 2>/dev/null; then
    rm -f "$UNITS/multi-user.target.wants/$AT_BOOT" "$UNITS/$AT_BOOT"
    systemctl daemon-reload
  fi
}

# The service is left alone by a heal that it runs itself.
disarm_timer() {
  systemctl stop "$UNDO.timer" 2>/dev/null || true
  if [ -z "${LABCTL_UNDO:-}" ]; then stop_unit "$UNDO.service"; fi
}

# --- files

# Standard input becomes the file, wholly or not at all.
write() {
  cat >"$1.labctl-new"
  mv -T "$1.labctl-new" "$1"
}

# Keep the original of a file, once: save FILE.
save() {
  mkdir -p "$MINE/saved"
  kept=$MINE/saved/$(basename "$1")
  if [ -e "$kept" ] || [ -L "$kept" ]; then return; fi
  cp -a "$1" "$kept.labctl-new"
  mv -T "$kept.labctl-new" "$kept"
  sync "$MINE/saved"
}

# Put the original back, if one was kept; beside the file's folder first, for programs watch that: restore FILE.
restore() {
  kept=$MINE/saved/$(basename "$1")
  if [ ! -e "$kept" ] && [ ! -L "$kept" ]; then return 0; fi
  beside=$(dirname "$(dirname "$1")")/.labctl-$(basename "$1")
  cp -a "$kept" "$beside"
  mv -T "$beside" "$1"
}

is_saved() { [ -e "$MINE/saved/$(basename "$1")" ] || [ -L "$MINE/saved/$(basename "$1")" ]; }

# --- units

is_stopped() {
  case $(systemctl is-active "$1" || true) in
    inactive | failed) ;;
    *) return 1 ;;
  esac
}

stop_unit() {
  systemctl stop "$1" 2>/dev/null || true
  systemctl reset-failed "$1" 2>/dev/null || true
}

has_unit() {
  systemctl cat "$1" >/dev/null 2>&1 || { echo "the machine has no unit $1"; return 1; }
}

# Run this script's fault_work in a unit of its own; further words are systemd-run's: work_begins [WORD...].
work_begins() {
  systemd-run --quiet --collect --unit="$WORK" "$@" /bin/sh "$MINE/script" work 9>&-
}

work_ends() { stop_unit "$WORK.service"; }

# --- processes

# A process and when it began, which together are never used twice: began PID.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

has_process() { pgrep -x "$(printf %.15s "$1")" >/dev/null; }

# Kill these processes for good, and note them: kill_noted PID...
kill_noted() {
  for pid in "$@"; do
    since=$(began "$pid")
    [ -n "$since" ] || continue
    echo "$pid $since" >>"$MINE/killed"
    kill -KILL "$pid" 2>/dev/null || true
  done
}

kill_program() {
  pids=$(pgrep -x "$(printf %.15s "$1")") || die "no $1 runs on this machine"
  # shellcheck disable=SC2086
  kill_noted $pids
}

# Evidence that what was killed is gone: noted_are_gone WHAT.
noted_are_gone() {
  [ -s "$MINE/killed" ] || return 1
  while read -r pid since; do
    if [ "$(began "$pid")" = "$since" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; then return 1; fi
  done <"$MINE/killed"
  echo "$1 was killed: the $(wc -l <"$MINE/killed") process(es) noted by the kill are gone"
}

# --- static pods

has_manifest() {
  if [ -f "$MANIFESTS/$1.yaml" ] || is_saved "$1.yaml"; then return 0; fi
  echo "the machine has no static pod $1"
  return 1
}

manifest_away() {
  save "$MANIFESTS/$1.yaml"
  rm -f "$MANIFESTS/$1.yaml"
}

manifest_back() {
  if [ -e "$MANIFESTS/$1.yaml" ]; then return 0; fi
  restore "$MANIFESTS/$1.yaml"
}

manifest_is_away() {
  is_saved "$1.yaml" && [ ! -e "$MANIFESTS/$1.yaml" ] && ! has_process "$1" || return 1
  echo "the manifest of $1 is away, and no process of it is left"
}

# --- network

# A table of the fault's own: nobody else's is touched.
table() { printf 'labctl_fault_%s' "$FAULT" | tr - _; }

has_nft() { command -v nft >/dev/null || { echo "the machine has no program nft"; return 1; }; }

# Standard input is the table's chains; all of them, or none.
table_load() {
  name=$(table)
  {
    echo "table inet $name"
    echo "delete table inet $name"
    echo "table inet $name {"
    cat
    echo "}"
  } | nft -f -
}

table_delete() { printf 'table inet %s\ndelete table inet %s\n' "$(table)" "$(table)" | nft -f -; }

table_is_there() {
  rules=$(nft list table inet "$(table)" 2>/dev/null) || return 1
  counts=$(printf '%s\n' "$rules" | sed -n 's/.*counter packets \([0-9]*\).*/\1/p')
  stopped=$(printf '%s\n' "$counts" | awk '{ n += $1 } END { print n + 0 }')
  echo "the nftables table $(table) is in force and has stopped $stopped packets"
}

own_addresses() { ip -o address show | awk '{ split($4, a, "/"); print a[1] }'; }

# Those addresses that are not this machine's, and the networks (of pods) routed by way of them: beyond IP,IP...
beyond() {
  own=$(own_addresses)
  for address in $(printf '%s' "$1" | tr ',' ' '); do
    if printf '%s\n' "$own" | grep -qxF "$address"; then continue; fi
    echo "$address"
    ip "$(family "$address")" route show via "$address" | awk '$1 != "default" { print $1 }'
  done
}

family() { case $1 in *:*) echo -6 ;; *) echo -4 ;; esac; }

# A rule for addresses and networks of either family: rules saddr|daddr REST ADDRESS...
rules() {
  side=$1 rest=$2
  shift 2
  four=$(printf '%s\n' "$@" | grep -v : | paste -sd,)
  six=$(printf '%s\n' "$@" | grep : | paste -sd,)
  [ -z "$four" ] || echo " ip $side { $four } $rest"
  [ -z "$six" ] || echo " ip6 $side { $six } $rest"
}

# A chain's first rule: the connection that this script came by stays.
except_ssh() {
  # shellcheck disable=SC2086
  set -- ${SSH_CONNECTION:-}
  case ${1:-} in
    *%* | '') return ;; # an address of the link alone
  esac
  rules saddr "tcp dport $4 accept" "$1"
  rules daddr "tcp sport $4 accept" "$1"
}

# The addresses on the link of those machines that are on it. Where machines are containers, the host's own netfilter may
# rewrite the IP address of what passes its bridge (bridge-nf-call-iptables, and the engine's masquerading): not these.
links() {
  for address in "$@"; do
    case $address in */*) continue ;; esac
    case $(ip -o route get "$address" 2>/dev/null) in *' via '*) continue ;; esac # behind a router
    bash -c "echo >/dev/udp/$address/9" 2>/dev/null || true # so that the machine looks for the address
    for _ in 1 2 3 4 5; do
      link=$(ip neigh show "$address" | sed -n 's/.* lladdr \([^ ]*\).*/\1/p' | head -n 1)
      [ -z "$link" ] || break
      sleep 0.1
    done
    [ -z "$link" ] || echo "$link"
  done | sort -u | paste -sd,
}

# Before conntrack and NAT: what comes from the given machines and networks is dropped.
drop_from() {
  links=$(links "$@")
  printf 'chain in {\n type filter hook prerouting priority raw;\n%s\n%s\n%s\n}\n' \
    "$(except_ssh)" "$(rules saddr 'counter drop' "$@")" "${links:+ether saddr { $links \} counter drop}"
}

# After NAT: what goes to them is dropped, and so are the answers to what came from them under another address.
drop_to() {
  links=$(links "$@")
  if [ -n "$links" ]; then
    printf 'chain theirs {\n type filter hook prerouting priority mangle;\n ether saddr { %s } ct mark set %s\n}\n' \
      "$links" "$THEIRS"
  fi
  printf 'chain out {\n type filter hook postrouting priority 90;\n%s\n' "$(except_ssh)"
  printf '%s\n ct mark %s ct direction reply counter drop\n}\n' "$(rules daddr 'counter drop' "$@")" "$THEIRS"
}

has_peers() {
  has_nft || return 1
  [ -n "$(beyond "$1")" ] || { echo "there is no other machine to be cut off from"; return 1; }
}

# The interface by which the others are reached.
uplink() {
  first=$(beyond "$(arg peers)" | head -n 1)
  ip -o route get "${first:-192.0.2.1}" | sed -n 's/.* dev \([^ ]*\).*/\1/p'
}

# --- the kubelet's arguments and its certificate

# Further arguments, until the drop-in goes or the machine boots: kubelet_with ARGUMENT...
kubelet_with() {
  had=$(sed -n 's/^KUBELET_EXTRA_ARGS=//p' "$ROOT/etc/default/kubelet" 2>/dev/null | tr -d '"')
  printf 'KUBELET_EXTRA_ARGS="%s"\n' "${had:+$had }$*" | write "$MINE/kubelet.env"
  mkdir -p "$(dirname "$(kubelet_drop_in)")"
  printf '%s\n' '[Service]' "EnvironmentFile=-$MINE/kubelet.env" | write "$(kubelet_drop_in)"
  systemctl daemon-reload
}

kubelet_as_before() {
  rm -f "$(kubelet_drop_in)"
  systemctl daemon-reload
}

kubelet_drop_in() { echo "$DROP_INS/kubelet.service.d/labctl-fault-$FAULT.conf"; }

can_sign() {
  if openssl x509 -help 2>&1 | grep -q -- -not_after; then return 0; fi
  echo "openssl here cannot sign for a time in the past (3.4 can)"
  return 1
}

# The certificate in FILE as it would be had it run out in 2020, signed anew: expired FILE CA.CRT CA.KEY
expired() {
  openssl x509 -in "$1" -CA "$2" -CAkey "$3" -not_before 20200101000000Z -not_after 20200102000000Z 2>/dev/null
}

has_expired() { ! openssl x509 -in "$1" -noout -checkend 0 >/dev/null 2>&1; }

# --- what a resource fault may take

has_python() { command -v python3 >/dev/null || { echo "the machine has no python3"; return 1; }; }

# The folder of a cgroup, whichever version: cgroup CONTROLLER [PATH]
cgroup() {
  if [ -d "/sys/fs/cgroup/$1" ]; then echo "/sys/fs/cgroup/$1${2:-}"; else echo "/sys/fs/cgroup${2:-}"; fi
}

# The cgroup of a process: cgroup_of CONTROLLER PID
cgroup_of() {
  path=$(sed -n "s/^[0-9]*:\(.*,\)*$1\(,.*\)*:\//\//p" "/proc/$2/cgroup")
  cgroup "$1" "${path:-$(sed -n 's/^0:://p' "/proc/$2/cgroup")}"
}

# --- delay and loss

# Tried where nobody is hurt: on the loopback of a network namespace of its own.
has_netem() {
  said=$(unshare --net tc qdisc add dev lo root netem delay 1ms 2>&1) && return 0
  echo "no netem in this kernel: $said"
  return 1
}

# The handle tells the fault's own queue from others.
handle() { if [ "$FAULT" = net-delay ]; then echo 1ab:; else echo 1ac:; fi; }

netem_is_there() {
  tc qdisc show dev "$(uplink)" | grep "^qdisc netem $(handle) root"
}

netem_delete() {
  if netem_is_there >/dev/null; then tc qdisc del dev "$(uplink)" root; fi
}
