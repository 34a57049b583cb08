# The kubelet dies as it starts, again and again: systemd starts it, and it is killed before it has said a word.
FAULT=kubelet-crash
DROP_IN=$DROP_INS/kubelet.service.d/labctl-fault-kubelet-crash.conf

fault_supported() { has_unit kubelet; }

fault_inject() {
  mkdir -p "$(dirname "$DROP_IN")"
  # shellcheck disable=SC2016
  printf '%s\n' '[Service]' 'ExecStartPost=/bin/kill -KILL $MAINPID' | write "$DROP_IN"
  systemctl daemon-reload
  systemctl kill --signal=KILL kubelet
}

fault_heal() {
  rm -f "$DROP_IN"
  systemctl daemon-reload
  systemctl reset-failed kubelet 2>/dev/null || true
  systemctl start kubelet
}

fault_active() {
  [ -e "$DROP_IN" ] || return 1
  times=$(systemctl show --property=NRestarts --value kubelet)
  echo "the kubelet is killed as it starts; systemd has started it again $times times"
}

fault_main "$@"
