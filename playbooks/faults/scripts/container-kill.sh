# The containers of some pods are killed, as a crash: the kubelet starts them again in place, later each time.
# namespace= and prefix= (of the pods' names) say which; times= how often (1), each time they run again.
FAULT=container-kill

fault_supported() {
  if [ -z "$(arg namespace)" ] || [ -z "$(arg prefix)" ]; then
    echo "namespace= and prefix= say which pods"
    return 1
  fi
  command -v ctr >/dev/null || { echo "the machine has no program ctr"; return 1; }
}

which_pods() { echo "$(arg namespace)/$(arg prefix)*"; }

# The first processes of the containers.
processes() {
  running=$(ctr --namespace k8s.io tasks ls | awk '$3 == "RUNNING" { print $1 " " $2 }')
  labels="labels.\"io.cri-containerd.kind\"==container,labels.\"io.kubernetes.pod.namespace\"==\"$(arg namespace)\""
  labels="$labels,labels.\"io.kubernetes.pod.name\"~=\"^$(arg prefix)\""
  for id in $(ctr --namespace k8s.io containers ls --quiet "$labels"); do
    printf '%s\n' "$running" | sed -n "s/^$id //p"
  done
}

fault_inject() {
  found=$(processes)
  [ -n "$found" ] || die "no container of $(which_pods) runs on this machine"
  # shellcheck disable=SC2086
  kill_noted $found
  if [ "$(arg times 1)" -gt 1 ]; then work_begins; fi
}

fault_work() {
  left=$(($(arg times 1) - 1))
  while [ "$left" -gt 0 ]; do
    sleep 0.5
    again=$(processes)
    [ -n "$again" ] || continue
    # shellcheck disable=SC2086
    kill_noted $again
    left=$((left - 1))
  done
}

fault_heal() { work_ends; }

fault_active() { noted_are_gone "what ran in $(which_pods)"; }

fault_main "$@"
