# A static pod of the control plane is removed: its manifest is moved away and back.
# component=kube-scheduler (the default) or kube-controller-manager
FAULT=static-pod-remove

fault_supported() {
  case $(component) in
    kube-scheduler | kube-controller-manager) has_manifest "$(component)" ;;
    *) echo "component= is kube-scheduler or kube-controller-manager" && return 1 ;;
  esac
}

component() { arg component kube-scheduler; }

fault_inject() { manifest_away "$(component)"; }

fault_heal() { manifest_back "$(component)"; }

fault_active() { manifest_is_away "$(component)"; }

fault_main "$@"
