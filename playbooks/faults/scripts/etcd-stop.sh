# etcd of this machine is stopped and stays so: its manifest is moved away, and the kubelet ends the static pod.
FAULT=etcd-stop

fault_supported() { has_manifest etcd; }

fault_inject() { manifest_away etcd; }

fault_heal() { manifest_back etcd; }

fault_active() { manifest_is_away etcd; }

fault_main "$@"
