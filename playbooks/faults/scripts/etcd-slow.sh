# etcd's disk is slow: writes_per_s= (10), by its cgroup. Where no device can be limited, etcd is stopped for three
# quarters of each 0.4 s instead, which delays its answers likewise.
FAULT=etcd-slow

fault_supported() {
  has_process etcd || { echo "no etcd runs on this machine"; return 1; }
}

# The disk below etcd's folder, as MAJOR:MINOR; a partition's disk, for partitions cannot be limited.
disk() {
  device=$(findmnt --noheadings --output MAJ:MIN --target /var/lib/etcd | tail -n 1 | tr -d ' ')
  if [ -e "/sys/dev/block/$device/partition" ]; then device=$(cat "/sys/dev/block/$device/../dev"); fi
  if [ -e "/sys/dev/block/$device" ]; then echo "$device"; fi
}

# Limit etcd's writes, and its pod's, for a container that is started again has a new cgroup: limit A_SECOND (0: do not)
limit() {
  pid=$(pgrep -x etcd | head -n 1) && [ -n "$(disk)" ] || return 1
  folder=$(cgroup_of blkio "$pid")
  case $folder in
    */kubepods*) ;;
    *) return 1 ;;
  esac
  for here in "$folder" "$(dirname "$folder")"; do
    if [ -e "$here/blkio.throttle.write_iops_device" ]; then
      echo "$(disk) $1" >"$here/blkio.throttle.write_iops_device" || return 1
    elif [ -e "$here/io.max" ]; then
      echo "$(disk) wiops=$(if [ "$1" = 0 ]; then echo max; else echo "$1"; fi)" >"$here/io.max" || return 1
    else
      return 1
    fi
  done 2>/dev/null
}

is_limited() {
  pid=$(pgrep -x etcd | head -n 1) || return 1
  folder=$(cgroup_of blkio "$pid")
  cat "$folder/blkio.throttle.write_iops_device" "$folder/io.max" 2>/dev/null | grep "^$(disk) .*[0-9]"
}

fault_inject() {
  if ! limit "$(arg writes_per_s 10)"; then work_begins; fi
}

fault_work() {
  while sleep 0.1; do
    pkill -STOP -x etcd || true
    sleep 0.3
    pkill -CONT -x etcd || true
  done
}

fault_heal() {
  work_ends
  pkill -CONT -x etcd || true
  limit 0 || true
}

fault_active() {
  if limits=$(is_limited); then
    echo "etcd's cgroup limits its writes: $limits"
  elif systemctl is-active --quiet "$WORK"; then
    echo "etcd is stopped for 0.3 s of each 0.4 s (its disk cannot be limited)"
  else
    return 1
  fi
}

fault_main "$@"
