# A program takes mib= (512) MiB, no more, in a cgroup of its own; the kubelet's threshold is set to what is free less
# half of that, so that it says MemoryPressure and evicts. Neither the machine nor its host is short of memory.
FAULT=memory-pressure

fault_supported() {
  has_python || return 1
  free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  need=$(($(mib) + 512))
  [ "$free" -ge "$need" ] || { echo "$free MiB of memory are free, and $need must be"; return 1; }
}

mib() { arg mib 512; }

# As the kubelet counts: what there is less what is used and cannot be taken back, in MiB.
available() {
  of=$(cgroup memory)
  usage=$(cat "$of/memory.usage_in_bytes" 2>/dev/null || cat "$of/memory.current" 2>/dev/null ||
    awk '/^MemTotal:/ { a = $2 } /^MemFree:/ { print (a - $2) * 1024 }' /proc/meminfo)
  # Version 1 has both; the total is with all groups below.
  idle=$(sed -n 's/^total_inactive_file //p; s/^inactive_file //p' "$of/memory.stat" | sort -n | tail -n 1)
  total=$(awk '/^MemTotal:/ { print $2 * 1024 }' /proc/meminfo)
  awk -v t="$total" -v u="$usage" -v i="$idle" 'BEGIN { print int((t - (u > i ? u - i : 0)) / 1048576) }'
}

fault_inject() {
  kubelet_with "--eviction-hard=memory.available<$(($(available) - $(mib) / 2))Mi"
  # Were the machine short of memory all the same, this is what the kernel ends first.
  work_begins --property=MemoryMax="$(($(mib) + 64))M" --property=OOMScoreAdjust=1000
  systemctl restart kubelet
}

fault_work() {
  exec python3 -c 'import signal, sys; taken = b"x" * (int(sys.argv[1]) << 20); signal.pause()' "$(mib)"
}

fault_heal() {
  work_ends
  kubelet_as_before
  systemctl restart kubelet
}

fault_active() {
  [ -e "$(kubelet_drop_in)" ] && systemctl is-active --quiet "$WORK" || return 1
  held=$(ps -o rss= -p "$(systemctl show --property=MainPID --value "$WORK")" | awk '{ print int($1 / 1024) }')
  [ "$held" -ge "$(mib)" ] || return 1
  echo "a program holds $held MiB, and the kubelet runs with$(sed 's/.*--eviction-hard=/ /; s/"//' "$MINE/kubelet.env")"
}

fault_main "$@"
