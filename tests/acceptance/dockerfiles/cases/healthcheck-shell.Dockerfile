FROM busybox
HEALTHCHECK CMD x || y
