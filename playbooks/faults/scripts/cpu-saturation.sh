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

fault_inject() {
  work_begins --property=CPUQuota="$(percent)%" --property=CPUWeight=10000
  bound=$(bound)
  if [ "$bound" = max ] || [ "$bound" -le 0 ]; then
    work_ends
    die "the CPU time of a unit cannot be limited on this machine"
  fi
}

bound() {
  folder=$(cgroup_of cpu "$(systemctl show --property=MainPID --value "$WORK")")
  cat "$folder/cpu.cfs_quota_us" 2>/dev/null || cut -d' ' -f1 "$folder/cpu.max"
}

fault_work() {
  for _ in $(seq "$(nproc)"); do
    while :; do :; done &
  done
  wait
}

fault_heal() { work_ends; }

fault_active() {
  systemctl is-active --quiet "$WORK" || return 1
  echo "$(nproc) busy loops run, bounded at $(percent) % of a CPU"
}

fault_main "$@"
