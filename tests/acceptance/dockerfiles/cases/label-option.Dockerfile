FROM busybox
LABEL a=1
