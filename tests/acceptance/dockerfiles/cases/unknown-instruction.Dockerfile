FROM busybox
XYZZY a
