# As many busy loops as the machine has CPUs, of more weight than anything else on it. What they may take is bounded by
# the machine's own limit; a container without one leaves a CPU to its host. percent= lowers it (100 is one CPU).
FAULT=cpu-saturation

fault_supported() { :; }

# What the machine may take, in percent of a CPU; nothing if it has no limit of its own.
limit() {
  of=$(cgroup cpu)
  quota=$(cat "$of/cpu.cfs_quota_us" 2>/dev/null || cut -d' ' -f1 "$of/cpu.max" 2>/dev/null || echo max)
  period=$(cat "$of/cpu.cfs_period_us" 2>/dev/null || cut -d' ' -f2 "$of/cpu.max" 2>/dev/null || echo 100000)
  case $quota in
    max | -1) ;;
    *) echo $((quota * 100 / period)) ;;
  esac
}

percent() {
  most=$(limit)
  if [ -z "$most" ] && systemd-detect-virt --quiet --container; then most=$((($(nproc) - 1) * 100)); fi
  most=${most:-$(($(nproc) * 100))}
  [ "$most" -ge 50 ] || most=50
  asked=$(arg percent "$most")
  if [ "$asked" -lt "$most" ]; then echo "$asked"; else echo "$most"; fi
}

# cgroup v1, whose controllers the systemd of today leaves alone: a group of the fault's own.
box() { echo "$(cgroup cpu)/labctl-$FAULT"; }

fault_inject() {
  if [ -e "$(cgroup cpu)/cpu.cfs_quota_us" ]; then
    mkdir -p "$(box)"
    echo 100000 >"$(box)/cpu.cfs_period_us"
    echo "$(($(percent) * 1000))" >"$(box)/cpu.cfs_quota_us"
    echo 10240 >"$(box)/cpu.shares"
  fi
  work_begins --property=CPUQuota="$(percent)%" --property=CPUWeight=10000
  for _ in $(seq 30); do
    case $(bound) in
      max | -1 | 0 | '') sleep 0.1 ;;
      *) return ;;
    esac
  done
  work_ends
  die "the CPU time of a unit cannot be limited on this machine"
}

bound() {
  pid=$(systemctl show --property=MainPID --value "$WORK")
  [ -d "/proc/$pid" ] && [ "$pid" != 0 ] || return 0
  folder=$(cgroup_of cpu "$pid")
  cat "$folder/cpu.cfs_quota_us" 2>/dev/null || cut -d' ' -f1 "$folder/cpu.max"
}

fault_work() {
  if [ -d "$(box)" ]; then echo $$ >"$(box)/cgroup.procs"; fi
  for _ in $(seq "$(nproc)"); do
    while :; do :; done &
  done
  wait
}

fault_heal() {
  work_ends
  rmdir "$(box)" 2>/dev/null || true
}

fault_active() {
  systemctl is-active --quiet "$WORK" || return 1
  echo "$(nproc) busy loops run, bounded at $(percent) % of a CPU"
}

fault_main "$@"
