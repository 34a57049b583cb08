# The kubelet's file system is full. It is put onto a small volume in memory for as long as that lasts (the disk of a
# machine in a container is its host's), and that is filled; the kubelet's threshold is set to 10 %, so that it says
# DiskPressure and evicts. Images are elsewhere and stay.
FAULT=disk-full
FOLDER=/var/lib/kubelet
VOLUME=$ROOT/run/labctl-fault-disk-full

fault_supported() {
  has_unit kubelet || return 1
  used=$(du -sxm "$FOLDER" | cut -f1)
  [ "$used" -lt 512 ] || { echo "$FOLDER holds $used MiB, too much for a volume in memory"; return 1; }
}

fault_inject() {
  kubelet_with "--eviction-hard=nodefs.available<10%"
  systemctl stop kubelet
  mkdir -p "$VOLUME"
  mount -t tmpfs -o "size=$(($(du -sxm "$FOLDER" | cut -f1) + 64))m,mode=0755" "$FAULT" "$VOLUME"
  cp -ax "$FOLDER/." "$VOLUME"
  below "$FOLDER" | while read -r at; do mount --bind "$at" "$VOLUME${at#"$FOLDER"}"; done
  mount --rbind "$VOLUME" "$FOLDER"
  systemctl start kubelet
  head -c "$(($(in_df avail) - 1024))K" /dev/zero >"$FOLDER/labctl-fault-disk-full"
}

# What is mounted below a folder.
below() { awk -v folder="$1/" 'index($2, folder) == 1 { print $2 }' /proc/mounts; }

is_mounted() { awk -v at="$1" -v name="$FAULT" '$1 == name && $2 == at { n = 1 } END { exit !n }' /proc/mounts; }

fault_heal() {
  systemctl stop kubelet
  for at in "$FOLDER" "$VOLUME"; do
    while is_mounted "$at"; do umount --recursive --lazy "$at"; done
  done
  rmdir "$VOLUME" 2>/dev/null || true
  kubelet_as_before
  systemctl start kubelet
}

in_df() { df --output="$1" --block-size=1K "$FOLDER" | tail -n 1 | tr -d ' '; }

fault_active() {
  is_mounted "$FOLDER" && [ -e "$FOLDER/labctl-fault-disk-full" ] || return 1
  echo "the kubelet's file system has $(in_df avail) KiB free of $(in_df size)"
}

fault_main "$@"
