# The API server of this machine is stopped and stays so: its manifest is moved away, and the kubelet ends
# the static pod.
FAULT=apiserver-stop

fault_supported() { has_manifest kube-apiserver; }

fault_inject() { manifest_away kube-apiserver; }

fault_heal() { manifest_back kube-apiserver; }

fault_active() { manifest_is_away kube-apiserver; }

fault_main "$@"
