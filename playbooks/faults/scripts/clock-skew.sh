# The clock jumps by seconds= (600), and nobody sets it right meanwhile. Programs that measure by the monotonic clock, as
# the kubelet and systemd's timers do, go on as before. A container has its host's clock, which is nobody's to change.
FAULT=clock-skew
KEEPERS="systemd-timesyncd chrony chronyd ntpsec ntpd openntpd"

fault_supported() {
  if systemd-detect-virt --quiet --container; then
    echo "a container has its host's clock"
    return 1
  fi
}

now() { date +%s.%N; }

# When the machine was started, by its clock, in seconds since 1970: the same at any time, unless the clock is set.
born() { awk -v now="$(now)" '{ printf "%.2f\n", now - $1 }' "$ROOT/proc/uptime"; }

this_boot() { cat "$ROOT/proc/sys/kernel/random/boot_id"; }

# Seconds by which the clock was set since the fault; nothing after a reboot, which sets it right.
skew() {
  [ -s "$MINE/born" ] && [ "$(cat "$MINE/boot" 2>/dev/null)" = "$(this_boot)" ] || return 0
  awk -v was="$(cat "$MINE/born")" -v is="$(born)" 'BEGIN { printf "%.2f\n", is - was }'
}

is_wrong() { [ -n "$1" ] && awk -v by="$1" 'BEGIN { exit !(by > 1 || by < -1) }'; }

set_by() { date --set="@$(awk -v now="$(now)" -v by="$1" 'BEGIN { printf "%.6f\n", now + by }')" >/dev/null; }

fault_inject() {
  this_boot >"$MINE/boot"
  born | write "$MINE/born"
  for keeper in $KEEPERS; do
    if systemctl is-active --quiet "$keeper"; then
      echo "$keeper" >>"$MINE/keepers"
      systemctl stop "$keeper"
    fi
  done
  set_by "$(arg seconds 600)"
}

fault_heal() {
  by=$(skew)
  if is_wrong "$by"; then set_by "$(awk -v by="$by" 'BEGIN { print -by }')"; fi
  for keeper in $(cat "$MINE/keepers" 2>/dev/null || true); do systemctl start "$keeper"; done
}

fault_active() {
  by=$(skew)
  is_wrong "$by" || return 1
  echo "the clock is $by s off what it was"
}

fault_main "$@"
