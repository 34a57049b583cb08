#!/bin/sh
# Runs inside a Debian root filesystem and makes it a machine: systemd, sshd, Python for Ansible. Nothing of Kubernetes.
set -eu
export DEBIAN_FRONTEND=noninteractive
missing=$(for package in $PACKAGES; do dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"; done)
if [ -n "$missing" ]; then
  apt-get update
  # shellcheck disable=SC2086
  apt-get install --yes --no-install-recommends $missing
fi
# One key per lab and one host key per machine come from outside; see labctl/providers/container.py.
mkdir -p /etc/ssh/sshd_config.d
cat > /etc/ssh/sshd_config.d/labctl.conf <<'CONF'
HostKey /var/lib/labctl/ssh_host_ed25519_key
AuthorizedKeysFile /var/lib/labctl/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
UsePAM no
MaxStartups 64:30:128
MaxSessions 64
CONF
rm -f /etc/ssh/ssh_host_*
# What a container has no device or no right for.
for unit in systemd-binfmt.service systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
  systemd-udev-trigger.service getty@tty1.service console-getty.service getty.target \
  systemd-networkd.service systemd-resolved.service systemd-timesyncd.service systemd-firstboot.service \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount dev-hugepages.mount apt-daily.timer \
  proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount \
  apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-sysctl.service; do
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
# A kubelet with a shutdownGracePeriod calls it by D-Bus; nobody else needs it.
rm -f /usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service
ln -sf /lib/systemd/system/ssh.service /etc/systemd/system/multi-user.target.wants/ssh.service
mkdir -p /etc/systemd/system.conf.d /etc/systemd/journald.conf.d
printf '[Manager]\nDefaultTimeoutStopSec=20s\n' > /etc/systemd/system.conf.d/labctl.conf
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\nForwardToConsole=no\n' > /etc/systemd/journald.conf.d/labctl.conf
ln -sf multi-user.target /etc/systemd/system/default.target
# Each machine gets an identity of its own at its first start.
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id
ln -sf /etc/machine-id /var/lib/dbus/machine-id
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
