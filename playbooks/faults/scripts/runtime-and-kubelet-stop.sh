# The kubelet and the container runtime are stopped. Containers run on, and nobody looks after them.
FAULT=runtime-and-kubelet-stop

fault_supported() { has_unit kubelet && has_unit containerd; }

fault_inject() { systemctl stop kubelet containerd; }

fault_heal() { systemctl start containerd kubelet; }

fault_active() {
  if is_stopped kubelet && is_stopped containerd; then
    echo "systemd says that neither the kubelet nor containerd runs"
  else
    return 1
  fi
}

fault_main "$@"
