# kube-proxy is killed once; the kubelet starts it again. The rules that it wrote stay in the kernel meanwhile.
FAULT=kube-proxy-kill

fault_supported() {
  has_process kube-proxy || { echo "no kube-proxy runs on this machine"; return 1; }
}

fault_inject() { kill_program kube-proxy; }

fault_heal() { :; }

fault_active() { noted_are_gone kube-proxy; }

fault_main "$@"
