FROM busybox as
