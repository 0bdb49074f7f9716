FROM busybox
CPOY a b
