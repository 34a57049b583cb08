# No process or thread can be started in pods: the cgroup of all pods may have as many as it has now. What is outside of
# pods (SSH, the kubelet, the host) has its own.
FAULT="pid-exhaustion"

pods() {
  for folder in "$(cgroup pids /kubepods)" "$(cgroup pids /kubepods.slice)"; do
    if [ -e "$folder/pids.max" ]; then echo "$folder"; fi
  done
}

fault_supported() {
  [ -n "$(pods)" ] || { echo "the machine has no pids cgroup of all pods"; return 1; }
}

fault_inject() {
  cat "$(pods)/pids.max" | write "$MINE/pids_max"
  cat "$(pods)/pids.current" | write "$MINE/limit"
  cat "$MINE/limit" >"$(pods)/pids.max"
}

fault_heal() {
  if [ -n "$(pods)" ] && [ -s "$MINE/pids_max" ]; then cat "$MINE/pids_max" >"$(pods)/pids.max"; fi
}

fault_active() {
  [ -s "$MINE/limit" ] && [ -n "$(pods)" ] && [ "$(cat "$(pods)/pids.max")" = "$(cat "$MINE/limit")" ] || return 1
  echo "pods have $(cat "$(pods)/pids.current") processes and threads, and may have $(cat "$MINE/limit")"
}

fault_main "$@"
