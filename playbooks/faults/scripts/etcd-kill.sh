# etcd of this machine is killed once, as a crash; the kubelet starts it again.
FAULT=etcd-kill

fault_supported() {
  has_process etcd || { echo "no etcd runs on this machine"; return 1; }
}

fault_inject() { kill_program etcd; }

fault_heal() { :; }

fault_active() { noted_are_gone etcd; }

fault_main "$@"
