# The kubelet's unit is stopped. Were it killed, systemd would start it again, and its node never be NotReady.
FAULT=kubelet-stop

fault_supported() { has_unit kubelet; }

fault_inject() { systemctl stop kubelet; }

fault_heal() { systemctl start kubelet; }

fault_active() {
  is_stopped kubelet || return 1
  echo "systemd says that the kubelet is $(systemctl is-active kubelet || true)"
}

fault_main "$@"
