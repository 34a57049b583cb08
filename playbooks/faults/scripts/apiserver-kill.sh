# The API server of this machine is killed once, as a crash; the kubelet starts it again.
FAULT=apiserver-kill

fault_supported() {
  has_process kube-apiserver || { echo "no kube-apiserver runs on this machine"; return 1; }
}

fault_inject() { kill_program kube-apiserver; }

fault_heal() { :; }

fault_active() { noted_are_gone kube-apiserver; }

fault_main "$@"
