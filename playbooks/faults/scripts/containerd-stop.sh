# The container runtime is stopped. Containers run on, for each has a shim of its own; the kubelet says NotReady.
FAULT=containerd-stop

fault_supported() { has_unit containerd; }

fault_inject() { systemctl stop containerd; }

fault_heal() { systemctl start containerd; }

fault_active() {
  is_stopped containerd || return 1
  echo "systemd says that containerd is $(systemctl is-active containerd || true)"
}

fault_main "$@"
