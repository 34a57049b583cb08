"""User-mode Linux: a host with a kernel of its own that needs no virtualization, where this host's kernel will not do.

It computes as fast as this machine; a system call costs some ten times as much, a new process some twenty times.
https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html
"""
