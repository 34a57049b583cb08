#!/bin/sh
# Answers / with the page and /api with JSON; both say which pod on which node it was (the downward API tells).
pod=${POD_NAME:-$(hostname)}
node=${NODE_NAME:-$(hostname)}
printf 'X-Pod: %s\r\nX-Node: %s\r\nCache-Control: no-store\r\n' "$pod" "$node"
case $REQUEST_URI in
/api*)
  printf 'Content-Type: application/json\r\n\r\n{"node":"%s","pod":"%s"}\n' "$node" "$pod"
  ;;
*)
  printf 'Content-Type: text/html; charset=utf-8\r\n\r\n'
  # Names of pods and nodes, and addresses, have no character that sed or HTML would take for its own.
  sed -e "s/{{.Pod}}/$pod/" -e "s/{{.Namespace}}/${POD_NAMESPACE:-unknown}/" \
    -e "s/{{.Node}}/$node/" -e "s/{{.IP}}/${POD_IP:-unknown}/" /www/page.html
  ;;
esac
